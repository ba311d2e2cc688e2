"""The outlines and measurements of cells as GeoJSON, as QuPath reads it."""

import gzip
import math
import re
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..files.atomic import atomic_write
from ..files.stacks import ONE_PLANE, Grid
from .measure import Columns
from .outlines import Outline
from .spool import Spool

_DIGITS = 9
# QuPath knows where a cell is, and on which plane, from its outline.
_KNOWN = re.compile(r"label|plane|[A-Z]|centroid-.*|bbox-.*")
_INTENSITIES = (("intensity_mean-", "Mean"), ("intensity_std-", "Std.Dev."))
_UNITS = {"um2": "µm^2", "um": "µm"}
_PIXEL_UNITS = {"area": "px^2"} | dict.fromkeys(
    ("perimeter", "axis_major_length", "axis_minor_length"), "px"
)
_NAMES = {"axis_major_length": "Major axis length", "axis_minor_length": "Minor axis length"}
_NAMES |= {"orientation": "Orientation (radians)"}


class Measurements:
    """What QuPath shows of each cell, made of the columns of the table.

    Where the pixel size is known, lengths and areas are in micrometres alone. Bool becomes 0 or 1,
    for QuPath's measurements are numbers.

    Args:
        columns: of N cells, named as ``measure`` does.
    """

    def __init__(self, columns: Columns) -> None:
        self._columns = {
            _measurement_name(name): _rounded(values)
            for name, values in columns.items()
            if not _KNOWN.fullmatch(name) and not {f"{name}_um", f"{name}_um2"} & columns.keys()
        }

    def of(self, cell: int) -> dict[str, float]:
        """The finite measurements of a cell, by name.

        Args:
            cell: its index from 0.
        """
        row = {name: values.item(cell) for name, values in self._columns.items()}
        return {name: value for name, value in row.items() if math.isfinite(value)}


class FeatureWriter:
    """Takes the cells of an image, in any order."""

    def __init__(self, spool: Spool, image: str, grid: Grid) -> None:
        self._spool, self._image, self._grid = spool, image, grid

    def add(self, cell: int, outline: Outline, measurements: Measurements, plane: int = 0) -> None:
        """Add a cell.

        Args:
            cell: its index from 0.
            outline: of it.
            measurements: of the cells on its plane.
            plane: that it is on, by its number from 0.

        Raises:
            OSError: the folder is full.
        """
        label = cell + 1
        is_one = len(outline) == 1
        geometry: dict[str, Any] = {
            "type": "Polygon" if is_one else "MultiPolygon",
            "coordinates": outline[0] if is_one else outline,
        }
        place = dict(zip(self._grid.axes, self._grid.positions[plane], strict=True))
        if place:
            geometry["plane"] = {"c": -1, "z": place.get("Z", 0), "t": place.get("T", 0)}
        feature = {
            "type": "Feature",
            "id": uuid.uuid5(uuid.NAMESPACE_URL, f"{self._image}#{plane}-{label}"),
            "geometry": geometry,
            "properties": {
                "objectType": "detection",
                "name": str(label),
                "measurements": measurements.of(cell),
            },
        }
        piece = orjson.dumps(feature, option=orjson.OPT_SERIALIZE_NUMPY)
        self._spool.add(plane, label, piece)


@contextmanager
def write_geojson(path: Path, image: str, grid: Grid = ONE_PLANE) -> Iterator[FeatureWriter]:
    """Write cells as a GeoJSON FeatureCollection, by plane and label, one line a cell.

    Until the end of the ``with`` block they are in a scratch file. The same cells make the same
    bytes.

    Args:
        path: of the result, gzipped if it ends with .gz; an existing file is replaced.
        image: its name. The ids of cells are made of it, their planes and labels.
        grid: of its planes. QuPath knows planes in depth and time; what lies along other axes
            lies one on the other there.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    with tempfile.TemporaryFile(dir=path.parent) as scratch:
        spool = Spool(scratch)
        yield FeatureWriter(spool, _unicode(image), grid)
        with atomic_write(path) as part, part.open("wb") as file:
            if path.suffix == ".gz":
                # Neither its name nor the time: the same cells make the same bytes.
                with gzip.GzipFile("", "wb", 1, file, mtime=0) as zipped:
                    _write(zipped, spool)
            else:
                _write(file, spool)


def _write(file: IO[bytes] | gzip.GzipFile, spool: Spool) -> None:
    file.write(b'{"type":"FeatureCollection","features":[')
    for number, (*_, piece) in enumerate(spool):
        file.write(b",\n" if number else b"\n")
        file.write(piece)
    file.write(b"\n]}\n")


def _measurement_name(column: str) -> str:
    """QuPath's way to call a column of the table."""
    for prefix, statistic in _INTENSITIES:
        if column.startswith(prefix):
            return f"{_unicode(column.removeprefix(prefix))}: {statistic}"
    name, _, unit = column.rpartition("_")
    if unit in _UNITS:
        return f"{_measurement_words(name)} {_UNITS[unit]}"
    words = _measurement_words(column)
    return f"{words} {_PIXEL_UNITS[column]}" if column in _PIXEL_UNITS else words


def _measurement_words(column: str) -> str:
    return _NAMES.get(column) or column.replace("_", " ").capitalize()


def _rounded(values: NDArray[Any]) -> NDArray[Any]:
    """Numbers; of float64 with nine digits, of float32 with six, as in the table."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    digits = min(np.finfo(values.dtype).precision, _DIGITS)
    return np.array([float(f"{value:.{digits}g}") for value in values.tolist()])


def _unicode(text: str) -> str:
    """Text that isn't Unicode, such as a broken name of a file, as JSON can hold it."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
