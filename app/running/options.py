"""The command line's options."""

import argparse
import math
import platform
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ..processor import available_threads
from ..settings import DIAMETERS, MAGNIFICATIONS, WEIGHTS

_PACKAGE = __name__.partition(".")[0]
_COMMAND = "vsm" if _PACKAGE == "vsm" else f"python -m {_PACKAGE}"
_NEGATIVE_LEVEL = re.compile(r"-[\d.].*g")


def parse(arguments: list[str] | None = None, description: str = "") -> argparse.Namespace:
    """Read the command line; a wrong option ends the process with status 2.

    So does another system than Linux, on which only --help and --version work.

    Args:
        arguments: by default those of the process.
        description: what --help tells before the options.
    """
    parser = _Parser(
        prog=_COMMAND,
        description=description.replace("python -m app", _COMMAND),
        formatter_class=argparse.RawTextHelpFormatter,
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
        type=_memory,
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
        type=_positive,
        default=available_threads(),
        help="CPU threads (default: all that this process may use, %(default)s here)",
    )
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder with settings.json and the graphs"
    )
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        help="tell the version, the commit, and the versions of the libraries, and end",
    )
    add_options_of_looks(parser)
    given = sys.argv[1:] if arguments is None else arguments
    # What begins with a minus would be taken for an option; with a space before it, it is not.
    options = parser.parse_args([f" {a}" if _NEGATIVE_LEVEL.fullmatch(a) else a for a in given])
    if sys.platform != "linux":
        # That no crash of a decoder ends a run takes fork and prctl.
        parser.exit(
            2,
            f"error: {_COMMAND} runs on Linux alone, this is {platform.system()}; use it from "
            "Python (docs/python.md) or in the container (docs/container.md)\n",
        )
    return options


def add_options_of_looks(parser: argparse.ArgumentParser) -> None:
    """The options by which the user, not the predictor, chooses how images are shown."""
    group = parser.add_argument_group(
        "how images are shown to the networks (by default found for each)"
    )
    group.add_argument(
        "--channels",
        type=_channels,
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
        type=_between(*DIAMETERS, "pixels from 2 to 100000 were wanted"),
        metavar="PIXELS",
        help="of the cells in the image; it is enlarged or shrunk to suit them",
    )
    size.add_argument(
        "--magnification",
        type=_between(*MAGNIFICATIONS, "a factor from 0.0625 to 16 was wanted"),
        metavar="FACTOR",
        help="by which an image is enlarged (2) or shrunk (0.5)",
    )


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message} (--help lists the options)\n")


class _Version(argparse.Action):
    """Tells the version and ends; only then the libraries are imported."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from ..version import describe

        print(describe())
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
        low, high = (_float(text.removesuffix("g")) for text in values)
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


def _channels(text: str) -> tuple[int | str, ...]:
    parts = [part.strip() for part in text.split(",")]
    if any(not part or part.startswith("-") for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text}: numbers from 0 or names were wanted, with commas between them"
        )
    channels = tuple(int(part) if part.isdecimal() else part for part in parts)
    if len({str(channel).casefold() for channel in channels}) < len(channels):
        raise argparse.ArgumentTypeError(f"{text}: each channel was wanted once")
    return channels


def _between(least: float, most: float, wanted: str) -> Callable[[str], float]:
    """A type of numbers in a range; ``wanted`` says so in messages."""

    def number(text: str) -> float:
        value = _float(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: {wanted}")
        return value

    return number


def _float(text: str) -> float:
    """A number, or NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: a whole number from 1 on was wanted")
    return int(text)


def _stack(text: str) -> str:
    if text not in ("refuse", "max") and not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text}: max or the number of a plane was wanted")
    return text


def _memory(text: str) -> int:
    """Bytes: 2 and 2GB are gigabytes; 500MB and 2GiB do as well."""
    found = re.fullmatch(r"([\d.e+-]+)\s*(?:([kmgt])(i?)b?)?", text.strip(), re.IGNORECASE)
    number, prefix, binary = found.groups() if found else ("nan", None, None)
    value = _float(number)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: a size above 0 was wanted (2GB, 500MB)")
    power = 1 + "kmgt".index((prefix or "g").lower())
    return round(min(value, 1e9) * math.pow(1024 if binary else 1000, power))
