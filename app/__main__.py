"""Outline every cell in a folder of microscopy images.

    python -m app INPUT OUTPUT

INPUT is a folder or one file. For each image NAME.EXT, OUTPUT/NAME_label.tiff is a label image of
the same height and width: 0 is background, 1 to N are the cells. OUTPUT/run.json tells what became
of each. Exit status: 0 every image done; 1 some image failed, each named on stderr, all the others
written; 2 wrong usage, nothing written; 130 interrupted, what was done is kept.
"""

import os
import sys

from .running.console import open_streams, say
from .running.journal import new_run
from .running.options import parse
from .running.owner import AccessError, work_as_owner
from .running.supervise import blame_image, supervise


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    open_streams()
    options = parse(arguments, __doc__ or "")
    try:
        work_as_owner(options.input, options.output)
    except AccessError as error:
        say(f"error: {error}")
        return 2

    name, process = new_run(), os.getpid()

    def work(restarted: bool) -> int:
        # Only the child needs these libraries, and libraries with threads must not be forked.
        try:
            from .running.run import run
        except ModuleNotFoundError as error:
            print(
                f"error: {sys.executable} lacks the package {error.name}; run 'make run' in the "
                "checkout once, or install requirements.txt",
                file=sys.stderr,
            )
            return 2
        return run(options, name, process, restarted=restarted)

    return supervise(work, lambda cause: blame_image(options.output, name, cause))


if __name__ == "__main__":
    sys.exit(main())
