"""Outline every cell in a folder of microscopy images.

    python -m app INPUT OUTPUT

INPUT is a folder or one file. For each image NAME.EXT, OUTPUT/NAME_label.tiff is a label image of
the same height and width: 0 is background, 1 to N are the cells. OUTPUT/run.json tells what became
of each. Exit status: 0 every image done; 1 some image failed, each named on stderr, all the others
written; 2 wrong usage, nothing written; 130 interrupted, what was done is kept.
"""

import argparse
import sys
from pathlib import Path

from app.journal import FAILED, STARTED, SUSPECT, append_line, read_records
from app.machine import available_threads
from app.supervise import supervise

WEIGHTS = Path(__file__).parent.parent / "weights"


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = parse(arguments)

    def work(goes_on: bool) -> int:
        # Only the child needs these libraries, and libraries with threads must not be forked.
        from app.batch import run

        return run(options, goes_on=goes_on)

    return supervise(work, lambda cause: blame_image(options, cause))


def blame_image(options: argparse.Namespace, cause: str) -> bool:
    """Record which image has crashed the process, or which may have; false if none was at work."""
    records = read_records(options.output)
    names = [name for name, record in records.items() if record["status"] == STARTED]
    if not names:
        print(f"error: the process was ended by {cause} before any image", file=sys.stderr)
        return False
    if len(names) > 1:
        for name in names:
            append_line(options.output, {"image": name, "status": SUSPECT})
        print(f"{cause} at {' or '.join(names)}; going on one image at a time", file=sys.stderr)
        return True
    hint = ", most likely for want of memory" if cause == "SIGKILL" else ""
    error = f"{names[0]}: ended the process ({cause}{hint}); the other images go on"
    append_line(options.output, {"image": names[0], "status": FAILED, "error": error})
    print(f"error: {error}", file=sys.stderr)
    return True


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line; a wrong one ends the process with status 2."""
    parser = argparse.ArgumentParser(
        prog="python -m app", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("input", type=Path, help="an image, or a folder of images")
    parser.add_argument("output", type=Path, help="folder for the label images; made if missing")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip images whose output is there, made the same way of the same file",
    )
    parser.add_argument(
        "--stack",
        type=_stack,
        default="refuse",
        metavar="WAY",
        help="of a stack (depth, time) segment the maximum over its planes (max)\n"
        "or one plane by its number from 0; by default stacks are refused",
    )
    parser.add_argument(
        "--max-memory",
        type=_gigabytes,
        metavar="GB",
        help="memory to use at most; images that need more are refused\n(default: what is free)",
    )
    parser.add_argument(
        "--time-budget",
        choices=("organisers",),
        help="see each image in as many of eight views as the challenge's clock leaves free:\n"
        "half of 10 s, or of 10 s a megapixel (default: in one view)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto (the default) takes CUDA where it works",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=available_threads(),
        help="CPU threads (default: all that this process may use, %(default)s here)",
    )
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder with settings.json and the graphs"
    )
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 was wanted")
    return value


def _stack(text: str) -> str:
    if text not in ("refuse", "max") and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: max or the number of a plane was wanted")
    return text


def _gigabytes(text: str) -> int:
    value = float(text)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: a number above 0 was wanted")
    return round(min(value, 1e9) * 1e9)


if __name__ == "__main__":
    sys.exit(main())
