"""Boxes that the user gives, instead of those that the detector would find."""

import csv
import io
import json
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .arrays import ImageError

_COLUMNS = ("image", "x0", "y0", "x1", "y1")
_WANTED = (
    "a CSV file with the columns image, x0, y0, x1, y1, or GeoJSON whose features have the name of "
    "their image as the property image"
)
_NO_GEOJSON = ValueError, LookupError, TypeError, AttributeError, RecursionError, ArithmeticError


class BoxesError(ValueError):
    """A file of boxes that can't be used: names it, the line or feature, and what is wrong."""


Boxes = dict[str, NDArray[np.float32]]
"""(N, 4) xyxy of each image, by its name."""
NO_BOXES = np.zeros((0, 4), np.float32)


def read_boxes(path: Path, only: str | None = None) -> Boxes:
    """The boxes of each image.

    Args:
        path: a CSV file with a header, or GeoJSON, of which each feature's extent is a box. Pixels
            of the image from its top left corner, x1 and y1 being the far edges.
        only: name of the image of features that don't name one, where there is only one.

    Returns:
        By the image's name (N, 4) float32 xyxy, in the file's order.

    Raises:
        BoxesError: it is neither, or a box is none.
    """
    if path.exists() and not path.is_file():  # what a pipe held can't be known again by --resume
        raise BoxesError(f"{path}: is no file; {_WANTED} was wanted")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BoxesError(f"{path}: can't be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise BoxesError(f"{path}: is no text in UTF-8; {_WANTED} was wanted") from error
    found: dict[str, list[list[float]]] = defaultdict(list)
    is_json = text.lstrip().startswith(("{", "["))
    for where, image, values in (_features if is_json else _rows)(path, text, only):
        with np.errstate(over="ignore"):
            x0, y0, x1, y1 = box = np.array(values, np.float32).tolist()
        if not all(map(math.isfinite, box)) or not (x0 < x1 and y0 < y1):
            raise BoxesError(
                f"{path}, {where}: x0 {x0:g}, y0 {y0:g}, x1 {x1:g}, y1 {y1:g} is no box; "
                "x0 < x1 and y0 < y1 were wanted"
            )
        found[image].append(box)
    return {image: np.array(boxes, np.float32) for image, boxes in found.items()}


def check_boxes(path: Path, boxes: NDArray[np.float32] | None, shape: tuple[int, ...]) -> None:
    """See that boxes are those of an image.

    Args:
        path: of the image.
        boxes: (N, 4) xyxy, or none are given.
        shape: (H, W) of the image.

    Raises:
        ImageError: one lies outside of it.
    """
    if boxes is None:
        return
    height, width = shape[:2]
    outside = (boxes[:, :2] >= (width, height)).any(1) | (boxes[:, 2:] <= 0).any(1)
    if outside.any():
        number = int(np.flatnonzero(outside)[0])
        x0, y0, x1, y1 = boxes[number].tolist()
        raise ImageError(
            f"{path}: has {width} x {height} pixels, but box {number} is x0 {x0:g}, y0 {y0:g}, x1 "
            f"{x1:g}, y1 {y1:g}; give boxes in pixels from its top left corner"
        )


def _rows(path: Path, text: str, _only: str | None) -> Iterator[tuple[str, str, list[float]]]:
    rows = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
    try:
        names = next(rows, [])
        if missing := [name for name in _COLUMNS if name not in names]:
            raise BoxesError(f"{path}: has no column {', '.join(missing)}; {_WANTED} was wanted")
        image, *sides = map(names.index, _COLUMNS)
        for row in filter(None, rows):
            where = f"line {rows.line_num}"
            if len(row) != len(names) or not row[image].strip():
                raise BoxesError(
                    f"{path}, {where}: an image and numbers with decimal points, {len(names)} "
                    f"fields in all, were wanted, not {', '.join(row)}"
                )
            try:
                yield where, row[image].strip(), [float(row[side]) for side in sides]
            except ValueError as error:
                raise BoxesError(f"{path}, {where}: four numbers were wanted ({error})") from error
    except csv.Error as error:
        raise BoxesError(f"{path}: is no CSV ({error}); {_WANTED} was wanted") from error


def _features(path: Path, text: str, only: str | None) -> Iterator[tuple[str, str, list[float]]]:
    try:
        whole = json.loads(text)
        features = whole["features"] if isinstance(whole, dict) else list(whole)
        for number, feature in enumerate(features):
            image = (feature.get("properties") or {}).get("image", only)
            points = np.array(list(_points(feature["geometry"]["coordinates"])), float)
            if not isinstance(image, str):
                raise BoxesError(f"{path}, feature {number}: names no image; {_WANTED} was wanted")
            yield f"feature {number}", image, [*points.min(0), *points.max(0)]
    except _NO_GEOJSON as error:
        if isinstance(error, BoxesError):
            raise
        raise BoxesError(f"{path}: is no GeoJSON of outlines; {_WANTED} was wanted") from error


def _points(coordinates: Any) -> Iterator[tuple[float, float]]:
    """All (x, y) of nested lists."""
    if coordinates and not isinstance(coordinates[0], list):
        yield coordinates[0], coordinates[1]
        return
    for part in coordinates:
        yield from _points(part)
