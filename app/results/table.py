"""What was measured, as a file for spreadsheets and statistics."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..files.atomic import atomic_write
from ..files.stacks import Grid
from .measure import Columns

_DIGITS = 9
_ROWS = 4096  # that are in memory as text at once


def on_plane(columns: Columns, grid: Grid, number: int) -> Columns:
    """The columns of one plane of a stack, behind those that say which plane that is.

    Args:
        columns: of N cells.
        grid: of the planes.
        number: of the plane from 0.

    Returns:
        ``plane``, one column for each axis of the grid, and then the others.
    """
    place = {"plane": number, **dict(zip(grid.axes, grid.positions[number], strict=True))}
    count = len(columns["label"])
    return {name: np.full(count, value) for name, value in place.items()} | columns


def write_table(path: Path, tables: Iterable[Columns]) -> None:
    """Write cells as comma-separated values: UTF-8, a header, one line a cell.

    Whole numbers are written as such, float64 with nine digits and float32 with six, bool as True
    and False; where a number is missing (NaN), nothing is. A name that holds a comma, a quote or a
    new line is quoted.

    Args:
        path: of the result; an existing file is replaced.
        tables: one or more with the same columns, written one after the other.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    # Text that isn't Unicode (a broken name of a channel) must not cost the table.
    how: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
    with atomic_write(path) as part, part.open("w", **how) as file:
        writer = csv.writer(file, lineterminator="\n")
        for number, columns in enumerate(tables):
            if not number:
                writer.writerow(columns)
            count = len(columns["label"])
            for first in range(0, count, _ROWS):
                some = [_texts(each[first : first + _ROWS]) for each in columns.values()]
                writer.writerows(zip(*some, strict=True))


def _texts(values: NDArray[Any]) -> list[str]:
    if values.dtype.kind != "f":
        return [str(value) for value in values.tolist()]
    digits = min(np.finfo(values.dtype).precision, _DIGITS)
    return ["" if math.isnan(value) else f"{value:.{digits}g}" for value in values.tolist()]
