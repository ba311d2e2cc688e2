"""What the texts on the command line mean; what means nothing is refused with what was wanted."""

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path

from ..area import Area

RESULTS = ("table", "geojson", "rois", "overlay", "report")
GEOJSON_GZ = "geojson.gz"
_MAX_THREADS = 1024


def channels(text: str) -> tuple[int | str, ...]:
    """Numbers from 0 and names, such as 0,2 or DAPI,CD45."""
    parts = [part.strip() for part in text.split(",")]
    if any(not part or part.startswith("-") for part in parts):
        raise argparse.ArgumentTypeError(
            f"{text}: numbers from 0 or names were wanted, with commas between them"
        )
    found = tuple(int(part) if part.isdecimal() else part for part in parts)
    if len({str(channel).casefold() for channel in found}) < len(found):
        raise argparse.ArgumentTypeError(f"{text}: each channel was wanted once")
    return found


def between(least: float, most: float, wanted: str) -> Callable[[str], float]:
    """A type of numbers in a range; ``wanted`` says so in messages."""

    def number(text: str) -> float:
        value = to_number(text)
        if not least <= value <= most:
            raise argparse.ArgumentTypeError(f"{text}: {wanted}")
        return value

    return number


def to_number(text: str) -> float:
    """A number, or NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def threads(text: str) -> int:
    """A number of threads."""
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= _MAX_THREADS:
        raise argparse.ArgumentTypeError(f"{text}: 1 to {_MAX_THREADS} were wanted")
    return int(text)


def path(text: str) -> Path:
    """A path; an empty text is none."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty; a path was wanted (. is this folder)")
    return Path(text)


def stack(text: str) -> str:
    """What to do with a stack."""
    if text not in ("refuse", "max", "each") and not re.fullmatch("[0-9]{1,9}", text):
        raise argparse.ArgumentTypeError(f"{text}: each, max or the number of a plane was wanted")
    return text


def memory(text: str) -> int:
    """Bytes: 2 and 2GB are gigabytes; 500MB and 2GiB do as well."""
    found = re.fullmatch(r"([\d.e+-]+)\s*(?:([kmgt])(i?)b?)?", text.strip(), re.IGNORECASE)
    number, prefix, binary = found.groups() if found else ("nan", None, None)
    value = to_number(number)
    if not value > 0:
        raise argparse.ArgumentTypeError(f"{text}: a size above 0 was wanted (2GB, 500MB)")
    power = 1 + "kmgt".index((prefix or "g").lower())
    return round(min(value, 1e9) * math.pow(1024 if binary else 1000, power))


def area(text: str) -> Area:
    """An area of cells: 20 is pixels, 20um2 square micrometres."""
    found = re.fullmatch(r"([\d.e+-]+)\s*(um2|um\^2|µm2|µm²|μm²)?", text.strip())
    value = to_number(found[1]) if found else math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(
            f"{text}: pixels (20) or square micrometres (20um2) were wanted"
        )
    return Area(value, bool(found and found[2]))


def results(text: str) -> frozenset[str]:
    """What to write beside the label images."""
    names = {part.strip() for part in text.split(",")}
    if names == {"all"}:
        return frozenset(RESULTS)
    known = {*RESULTS, GEOJSON_GZ}
    if not names <= known:
        raise argparse.ArgumentTypeError(
            f"{text}: all was wanted, or some of {', '.join(RESULTS)} with commas between them"
        )
    if "report" in names:
        names.add("table")  # from which it has the scores
    return frozenset(names)
