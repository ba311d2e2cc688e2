"""A page on which a large image and its outlines are looked at as closely as one likes.

Images are cut into tiles at every halving of their size, as maps are: NAME_zoom.html, and beside it
a folder NAME_zoom with the tiles of the image (JPEG) and of the lines (PNG) in
``image/LEVEL/X_Y.jpg``.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...files.arrays import Pixels
from ...files.atomic import atomic_write, scratch_path
from ...files.pixel_size import Size
from ..cells import LabelImage
from ..colours import choose_colours, find_lines
from ..overlay import MAX_SIDE
from ..shrink import fit, shrink_labels
from .text import fill, quote, text

TILE = 512  # pixels
_LAYERS = "image", "lines"
_QUALITY = 85  # of JPEG, 0-100
_COMPRESSION = 1  # of PNG: fast, and most of it is empty
_GAIN = 1.6  # of lines at each halving, which would else fade to a half


def write_zoom(
    base: Path,
    image: Pixels,
    labels: LabelImage,
    boxes: NDArray[np.int64],
    pixel_size: Size | None = None,
) -> Path:
    """Write the page and its tiles; every pixel is read once, and memory stays flat.

    Args:
        base: path and name without an ending; what is there is replaced.
        image: (H, W, 3) uint8 RGB.
        labels: (H, W), 1 to N are the cells.
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.
        pixel_size: (y, x) micrometres, for a scale bar; None where it isn't known.

    Returns:
        The path of the page.

    Raises:
        OSError: the folder can't be written to, or is full; or what is there holds other files.
    """
    page, tiles = (base.with_name(base.name + end) for end in ("_zoom.html", "_zoom"))
    if others := sorted({path.name for path in tiles.glob("*")} - set(_LAYERS)):
        raise FileExistsError(f"{tiles} is no such folder, for it holds {others[0]}")
    small = shrink_labels(labels, boxes, fit(labels.shape, MAX_SIDE))
    part = scratch_path(tiles, "part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        pyramid = _Pyramid(part, image, labels, choose_colours(small, len(boxes)))
        pyramid.write(0, 0, 0)
        shutil.rmtree(tiles, ignore_errors=True)
        part.rename(tiles)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    height, width = labels.shape
    about = {
        "height": height,
        "width": width,
        "tile": TILE,
        "top": pyramid.top,
        "tiles": quote(tiles.name),
        "micrometres": pixel_size[1] if pixel_size else None,
    }
    values = {"title": text(base.name), "count": f"{len(boxes):,}"}
    scripts = ["openseadragon.min.js", "zoom.js"]
    whole = fill("zoom.html", "zoom.css", scripts, {**values, "about": text(json.dumps(about))})
    with atomic_write(page) as file:
        file.write_text(whole, encoding="utf-8")
    return page


@dataclass(frozen=True)
class _Tile:
    """A part of the image, and of the lines over it."""

    image: NDArray[np.uint8]
    """(h, w, 3) RGB."""
    lines: NDArray[np.uint8]
    """(h, w, 4) RGB and how much of it covers the image, by which the colours are multiplied."""


class _Pyramid:
    """Writes tiles from the bottom up: each of an upper level is made of four below it."""

    def __init__(
        self, folder: Path, image: Pixels, labels: LabelImage, colours: NDArray[np.uint8]
    ) -> None:
        self.folder, self.image, self.labels = folder, image, labels
        opaque = np.full((len(colours), 1), 255, np.uint8)
        self.colours = np.concatenate((colours, opaque), 1)
        self.colours[0] = 0
        self.top = 0  # the level of full resolution; at level 0 one tile holds the image
        while max(labels.shape) > TILE << self.top:
            self.top += 1
        for level in range(self.top + 1):
            for layer in _LAYERS:
                (folder / layer / str(level)).mkdir(parents=True)

    def write(self, level: int, x: int, y: int) -> _Tile | None:
        """Write a tile and all below it; None where the image doesn't reach."""
        size = TILE << (self.top - level)
        if y * size >= self.labels.shape[0] or x * size >= self.labels.shape[1]:
            return None
        if level == self.top:
            tile = self._read(x * TILE, y * TILE)
        else:
            below = [self.write(level + 1, 2 * x + dx, 2 * y + dy) for dy, dx in _QUARTERS]
            tile = _halve(below)
        self._save(tile, level, x, y)
        return tile

    def _read(self, x0: int, y0: int) -> _Tile:
        height, width = self.labels.shape
        y1, x1 = min(y0 + TILE, height), min(x0 + TILE, width)
        # With the pixels around, on which it depends where lines are.
        top, left = max(y0 - 1, 0), max(x0 - 1, 0)
        around = self.labels[top : min(y1 + 1, height), left : min(x1 + 1, width)]
        line = np.where(find_lines(around), around, 0)
        line = line[y0 - top : y1 - top, x0 - left : x1 - left]
        return _Tile(self.image[y0:y1, x0:x1], self.colours[line])

    def _save(self, tile: _Tile, level: int, x: int, y: int) -> None:
        bgr = np.ascontiguousarray(tile.image[:, :, ::-1])
        cover = np.maximum(tile.lines[:, :, 3:].astype(np.uint16), 1)
        colour = np.minimum(tile.lines[:, :, 2::-1] * np.uint16(255) // cover, 255)
        bgra = np.concatenate((colour.astype(np.uint8), tile.lines[:, :, 3:]), 2)
        files = {
            f"image/{level}/{x}_{y}.jpg": (bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]),
            f"lines/{level}/{x}_{y}.png": (bgra, [cv2.IMWRITE_PNG_COMPRESSION, _COMPRESSION]),
        }
        for name, (pixels, options) in files.items():
            _, data = cv2.imencode(name[-4:], pixels, options)
            (self.folder / name).write_bytes(data.tobytes())


_QUARTERS = (0, 0), (0, 1), (1, 0), (1, 1)  # y, x


def _halve(tiles: list[_Tile | None]) -> _Tile:
    """One tile of four, in the order of ``_QUARTERS``; an odd last row or column is repeated."""
    image = _join([None if tile is None else tile.image for tile in tiles])
    lines = _join([None if tile is None else tile.lines for tile in tiles]).astype(np.float32)
    cover = lines[:, :, 3:]
    gain = np.minimum(_GAIN, 255 / np.maximum(cover, 1))
    return _Tile(image, np.rint(lines * gain).astype(np.uint8))


def _join(quarters: list[NDArray[np.uint8] | None]) -> NDArray[np.uint8]:
    rows = []
    for pair in (quarters[:2], quarters[2:]):
        there = [quarter for quarter in pair if quarter is not None]
        if there:
            rows.append(np.concatenate(there, 1))
    whole = np.concatenate(rows, 0)
    height, width = whole.shape[:2]
    even = cv2.copyMakeBorder(whole, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    size = even.shape[1] // 2, even.shape[0] // 2
    return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), np.uint8)
