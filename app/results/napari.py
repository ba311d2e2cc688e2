"""Reads label images for napari, which finds this by napari.yaml. It imports nothing of napari."""

import csv
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ..files.labels import result_path
from ..files.ome import read_ome
from ..files.pixel_size import tiff_pixel_size

Layer = tuple[NDArray[Any], dict[str, Any], str]
"""Pixels, the arguments of napari's layer beside them, and its type."""
# What a column may hold, each with what stands for nothing; anything else is text.
_KINDS: tuple[tuple[Callable[[str], Any], Any], ...] = (
    (int, 0),
    ({"True": True, "False": False}.__getitem__, False),
    (lambda text: float(text or "nan"), np.nan),
)


def get_reader(path: str | list[str]) -> Callable[[str], list[Layer]] | None:
    """What napari reads a file with, or None where it is none of ours.

    Args:
        path: of the file; a list are files that are to become one stack.
    """
    return read_labels if isinstance(path, str) and path.endswith("_label.tiff") else None


def read_labels(path: str) -> list[Layer]:
    """A label image as a Labels layer, with its scale in micrometres, if the file tells it.

    A single image has the columns of its table as features where that lies beside it. A stack has
    none: napari knows a cell by its label alone, and labels begin at 1 in each plane.

    Args:
        path: of NAME_label.tiff, which is read into memory whole.

    Returns:
        One layer: (..., H, W) in the file's dtype, uint16 or uint32.

    Raises:
        OSError: the file can't be read.
        ValueError: it is no label image.
    """
    with tifffile.TiffFile(path) as file:
        series = file.series[0]
        if series.dtype.kind not in "ui" or not series.axes.endswith("YX"):
            raise ValueError(
                f"{path}: {series.dtype} and axes {series.axes} were found, whole numbers and YX "
                "at the end were wanted; it is no label image: open it with napari's own reader"
            )
        labels = series.asarray()
        size = tiff_pixel_size(file, series, read_ome(file.pages.first.description))
    others = len(series.axes) - 2
    about: dict[str, Any] = {"name": Path(path).stem, "axis_labels": tuple(series.axes.lower())}
    if size is not None:
        about["scale"] = (*[1.0] * others, *size)
        about["units"] = (*["pixel"] * others, "micrometer", "micrometer")
    table = result_path(Path(path), "table")
    if not others and table.exists():
        try:
            about["features"] = _read_features(table, int(labels.max()))
        except (OSError, ValueError, csv.Error) as error:
            warnings.warn(f"{table}: {error}; the cells have no features", stacklevel=2)
    return [(labels, about, "labels")]


def _read_features(table: Path, count: int) -> dict[str, NDArray[Any]]:
    """The columns of a table by name; ``index`` is what napari calls the label.

    Row 0 is the background, of which nothing is known: napari's table of features takes the number
    of a row for the label, whatever ``index`` says.

    Raises:
        ValueError: it isn't the table of ``count`` cells.
    """
    with table.open(encoding="utf-8", newline="") as file:
        names, *rows = csv.reader(file)
    values = zip(*rows, strict=True) if rows else [()] * len(names)
    columns = {name: _parse(column) for name, column in zip(names, values, strict=True)}
    labels = columns.pop("label", None)
    if labels is None or not np.array_equal(labels, np.arange(count + 1)):
        raise ValueError(
            f"a column label from 1 to {count} was wanted, for there are so many cells in the "
            "label image; make both in one run"
        )
    return {"index": labels, **columns}


def _parse(column: tuple[str, ...]) -> NDArray[Any]:
    """Whole numbers, bool, numbers or text, whichever fits first, behind one that is nothing."""
    for kind, nothing in _KINDS:
        try:
            return np.array([nothing, *map(kind, column)])
        except (KeyError, ValueError):
            continue
    return np.array(["", *column])
