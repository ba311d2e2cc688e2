"""The command line's options."""

import argparse
import math
import platform
import re
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from ..processor import available_threads
from ..settings import DIAMETERS, MAGNIFICATIONS, WEIGHTS
from . import option_types as types
from .console import say
from .shard_number import shard_number

_PACKAGE = __name__.partition(".")[0]
_COMMAND = "vsm" if _PACKAGE == "vsm" else f"python -m {_PACKAGE}"
_PIXEL_SIZES = 1e-5, 1e5
_NEGATIVE_LEVEL = re.compile(r"-[\d.].*g")


def parse(
    arguments: list[str] | None = None, description: str = "", prog: str = _COMMAND
) -> argparse.Namespace:
    """Read the command line; a wrong option ends the process with status 2.

    So does another system than Linux, on which only --help and --version work.

    Args:
        arguments: by default those of the process.
        description: what --help tells before the options.
        prog: what the usage line begins with: the command, and what it takes before the input.
    """
    parser = _Parser(
        prog=prog,
        description=description.replace("python -m app", _COMMAND),
        formatter_class=argparse.RawTextHelpFormatter,
    )
    parser.add_argument("input", type=types.path, help="an image, or a folder of images")
    parser.add_argument(
        "output", type=types.path, help="folder for the label images; made if missing"
    )
    parser.add_argument(
        "--recursive",
        action="store_true",
        help="also the images in the folders of INPUT, and in theirs; OUTPUT gets the same folders",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip images whose output is there, made the same way of the same file",
    )
    parser.add_argument(
        "--shard",
        type=shard_number,
        metavar="I/N",
        help="do part I (from 0) of N parts of the images, which 'merge OUTPUT' joins in the end;\n"
        "auto/N takes I from the array of SLURM, Kubernetes or AWS Batch",
    )
    parser.add_argument(
        "--stack",
        type=types.stack,
        default="refuse",
        metavar="WAY",
        help="of a stack (depth, time) segment each plane by itself (each), the maximum\n"
        "over its planes (max) or one plane by its number from 0; by default\n"
        "stacks are refused",
    )
    parser.add_argument(
        "--max-memory",
        type=types.memory,
        metavar="SIZE",
        help="memory to use at most (2GB, 500MB); images that need more are\n"
        "refused (default: what is free)",
    )
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto (the default) takes CUDA where it works",
    )
    parser.add_argument(
        "--precision",
        choices=("auto", "int8", "float"),
        default="auto",
        help="of the networks: 8-bit integers, for CPUs with VNNI instructions, or floats;\n"
        "auto (the default) takes what is fastest",
    )
    parser.add_argument(
        "--threads",
        type=types.threads,
        default=available_threads(),
        help="CPU threads (default: all that this process may use, %(default)s here)",
    )
    parser.add_argument(
        "--weights",
        type=types.path,
        default=WEIGHTS,
        help="folder with settings.json and the graphs",
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="tell the version, the commit, and the versions of the libraries, and end",
    )
    add_options_of_looks(parser)
    add_options_of_results(parser)
    given = sys.argv[1:] if arguments is None else arguments
    # What begins with a minus would be taken for an option; with a space before it, it is not.
    options = parser.parse_args([f" {a}" if _NEGATIVE_LEVEL.fullmatch(a) else a for a in given])
    least, most = options.min_area, options.max_area
    if least and most and least.in_micrometres == most.in_micrometres and least.value > most.value:
        parser.error(f"--min-area {least} is above --max-area {most}")
    if sys.platform != "linux":
        # That no crash of a decoder ends a run takes fork and prctl.
        parser.exit(
            2,
            f"error: {_COMMAND} runs on Linux alone, this is {platform.system()}; use it from "
            "Python (docs/python.md) or in the container (docs/container.md)\n",
        )
    return options


def parse_report(arguments: list[str]) -> argparse.Namespace:
    """Read the command line of ``report``, without that word; as ``parse`` does."""
    parser = _Parser(
        prog=f"{_COMMAND} report",
        description="Make OUTPUT/report.html: what was done, and what may be wrong with it.",
    )
    parser.add_argument("output", type=types.path, help="output folder of a run that has ended")
    parser.add_argument(
        "--images", type=types.path, help="folder of the images (default: as run.json says)"
    )
    return parser.parse_args(arguments)


def parse_merge(arguments: list[str]) -> argparse.Namespace:
    """Read the command line of ``merge``, without that word; as ``parse`` does."""
    parser = _Parser(
        prog=f"{_COMMAND} merge",
        description="Make OUTPUT/run.json of all shards (--shard), and tell what is missing.",
    )
    parser.add_argument("output", type=types.path, help="output folder of the shards")
    return parser.parse_args(arguments)


def add_options_of_looks(parser: argparse.ArgumentParser) -> None:
    """The options by which the user, not the predictor, chooses how images are shown."""
    group = parser.add_argument_group(
        "how images are shown to the networks (by default found for each)"
    )
    group.add_argument(
        "--channels",
        type=types.channels,
        metavar="LIST",
        help="these alone: numbers from 0, or names in the file (0,2 or DAPI,CD45)",
    )
    group.add_argument(
        "--limits",
        nargs=2,
        action=_Limits,
        metavar=("LOW", "HIGH"),
        help="what becomes black and white in each channel: two percentiles (1 99.5)\n"
        "or two grey levels (200g 4000g)",
    )
    parser.set_defaults(percentiles=None, levels=None)
    size = group.add_mutually_exclusive_group()
    size.add_argument(
        "--diameter",
        type=types.between(*DIAMETERS, "pixels from 2 to 100000 were wanted"),
        metavar="PIXELS",
        help="of the cells in the image; it is enlarged or shrunk to suit them",
    )
    size.add_argument(
        "--magnification",
        type=types.between(*MAGNIFICATIONS, "a factor from 0.0625 to 16 was wanted"),
        metavar="FACTOR",
        help="by which an image is enlarged (2) or shrunk (0.5)",
    )


def add_options_of_results(parser: argparse.ArgumentParser) -> None:
    """The options that tell which cells are kept, and what is written of them."""
    group = parser.add_argument_group("what is written")
    group.add_argument(
        "--results",
        type=types.results,
        default=frozenset(),
        metavar="LIST",
        help="beside the label images: all, or a list of table, geojson (or geojson.gz), rois,\n"
        "overlay, report",
    )
    group.add_argument(
        "--pixel-size",
        type=types.between(*_PIXEL_SIZES, "micrometres from 1e-5 to 1e5 were wanted"),
        metavar="MICROMETRES",
        help="of a side of a pixel, for all images (default: as each file says)",
    )
    group.add_argument(
        "--boxes",
        type=types.path,
        metavar="FILE",
        help="the cells in these boxes, instead of those that the detector finds: CSV with the\n"
        "columns image, x0, y0, x1, y1, or GeoJSON",
    )
    group.add_argument(
        "--exclude-edges",
        action="store_true",
        help="leave out the cells that touch the border of the image",
    )
    for name, what in (("--min-area", "smaller"), ("--max-area", "larger")):
        group.add_argument(
            name,
            type=types.area,
            metavar="AREA",
            help=f"leave out {what} cells: 20 is pixels, 20um2 square micrometres",
        )
    group.add_argument(
        "--min-score",
        type=types.between(0, 1, "0 to 1 was wanted"),
        metavar="SCORE",
        help="leave out the cells that the detector is less sure of",
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        say(f"error: {message} (--help lists the options)")
        self.exit(2)


class _Version(argparse.Action):
    """Tells the version and ends; only then the libraries are imported."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ..version import describe

        try:
            print(describe(), flush=True)
        except OSError as error:
            say(f"error: standard output can't be written to ({error.strerror})")
            parser.exit(1)
        parser.exit()


class _Limits(argparse.Action):
    """Keeps two numbers as ``levels`` where both end with g, else as ``percentiles``."""

    def __init__(self, option_strings: Sequence[str], dest: str, **more: Any) -> None:
        super().__init__(option_strings, dest, default=argparse.SUPPRESS, **more)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        grey = [text.endswith("g") for text in values]
        low, high = (types.to_number(text.removesuffix("g")) for text in values)
        least, most = (-math.inf, math.inf) if all(grey) else (0, 100)
        good = grey[0] == grey[1] and math.isfinite(high - low)
        if not good or not least <= low < high <= most:
            given = " ".join(map(str.strip, values))
            raise argparse.ArgumentError(
                self,
                f"{given}: two percentiles from 0 to 100 (1 99.5) or two grey levels (200g 4000g) "
                "were wanted, the lower one first",
            )
        namespace.levels = (low, high) if all(grey) else None
        namespace.percentiles = None if all(grey) else (low, high)
