"""Outline every cell in a folder of microscopy images.

    python -m app INPUT OUTPUT
    python -m app report OUTPUT
    python -m app merge OUTPUT

INPUT is a folder or one file. For each image NAME.EXT, OUTPUT/NAME_label.tiff is a label image of
the same height and width: 0 is background, 1 to N are the cells. OUTPUT/run.json tells what became
of each. Exit status: 0 every image done; 1 some image failed, each named on stderr, all the others
written; 2 wrong usage, nothing written; 3 no image is at fault (the disk was full, the process was
killed): --resume goes on; 130 interrupted, what was done is kept.
"""

import gc
import os
import sys
from functools import partial

from .running.console import flush, open_streams, say
from .running.options import parse, parse_merge, parse_report
from .running.owner import AccessError, work_as_owner
from .running.shard_number import name_run, records_folder
from .running.supervise import blame_image, supervise


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    open_streams()
    given = sys.argv[1:] if arguments is None else arguments
    command = given[0] if given[:1] in (["report"], ["merge"]) else ""
    try:
        if command:
            options = (parse_report if command == "report" else parse_merge)(given[1:])
        else:
            options = parse(given, __doc__ or "")
    finally:
        flush()  # of --help and --version, which end the process
    try:
        work_as_owner(options.output if command else options.input, options.output)
    except AccessError as error:
        say(f"error: {error}")
        return 2

    shard = None if command else options.shard
    name, process = name_run(shard), os.getpid()
    records = records_folder(options.output, shard)

    def work(restarted: bool) -> int:
        # Only the child needs these libraries, and libraries with threads must not be forked.
        # Nothing here multiplies matrices: OpenBLAS would start its own threads for nothing.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        try:
            if command == "report":
                from .running.report import report

                return report(options)
            if command == "merge":
                from .running.merge import merge

                return merge(options)
            # What is imported stays: to look through it for garbage, again and again, finds none.
            gc.disable()
            from concurrent.futures import ThreadPoolExecutor

            from .graphs import open_graphs

            # Beside the import of all else, which takes as long.
            asked = options.weights, options.device, options.threads, options.precision
            opening = ThreadPoolExecutor(1).submit(open_graphs, *asked)
            from .running.configure import load_predictor
            from .running.run import run
        except KeyboardInterrupt:
            if not command:
                raise
            say(f"{command} was interrupted; start it again")
            return 130
        except ModuleNotFoundError as error:
            say(
                f"error: {sys.executable} lacks the package {error.name}; run 'make run' in the "
                "checkout once, or install requirements.txt"
            )
            return 2
        gc.freeze()
        gc.enable()
        load = partial(load_predictor, opening=opening)
        return run(options, name, process, restarted=restarted, load=load)

    def blame(cause: str) -> bool:
        if command:
            say(f"error: {command} was ended by {cause}; start it again")
            return False
        return blame_image(records, name, cause)

    return supervise(work, blame)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # before there was a child to end
        sys.exit(130)
