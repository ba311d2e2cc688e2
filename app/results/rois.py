"""The outlines of cells as ROIs, for the ROI Manager of ImageJ and Fiji."""

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from roifile import ROI_TYPE, ImagejRoi

from ..files.atomic import atomic_write
from ..files.stacks import ONE_PLANE, Grid
from .outlines import Outline, Ring
from .spool import Spool

# ImageJ takes larger 16-bit numbers for negative ones.
_MAX_COORDINATE = 60_535
_MAX_CORNERS = 65_535
# Of a path: go there, draw a line to there, draw a line to the start.
_MOVE, _LINE, _CLOSE = 0, 1, 4


class RoiWriter:
    """Takes the cells of an image, in any order."""

    def __init__(self, spool: Spool, grid: Grid) -> None:
        self._spool, self._grid = spool, grid

    def add(self, cell: int, outline: Outline, plane: int = 0) -> None:
        """Add a cell.

        Args:
            cell: its index from 0.
            outline: of it.
            plane: that it is on, by its number from 0.

        Raises:
            OSError: the folder is full.
        """
        label = cell + 1
        roi = _roi(outline)
        roi.name = _name(self._grid, plane, label)
        place = dict(zip(self._grid.axes, self._grid.positions[plane], strict=True))
        if len(place) == 1:
            (roi.position,) = (index + 1 for index in place.values())
        else:
            roi.z_position, roi.t_position = (place.get(axis, -1) + 1 for axis in "ZT")
        self._spool.add(plane, label, roi.tobytes())


@contextmanager
def write_rois(path: Path, grid: Grid = ONE_PLANE) -> Iterator[RoiWriter]:
    """Write each cell as one ROI, by plane and label, named as its label.

    In a stack the name is the plane's number, from 0 as in the table, and the label: 2-17. Until
    the end of the ``with`` block the ROIs are in a scratch file. The same cells make the same
    bytes.

    Args:
        path: of the result, a zip file; an existing file is replaced.
        grid: of the image's planes.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    with tempfile.TemporaryFile(dir=path.parent) as scratch:
        spool = Spool(scratch)
        yield RoiWriter(spool, grid)
        with (
            atomic_write(path) as part,
            zipfile.ZipFile(part, "w") as file,
        ):
            for plane, label, data in spool:
                entry = zipfile.ZipInfo(f"{_name(grid, plane, label)}.roi")  # of no date
                file.writestr(entry, data, zipfile.ZIP_DEFLATED, compresslevel=1)


def _name(grid: Grid, plane: int, label: int) -> str:
    return f"{plane}-{label}" if grid.axes else f"{label}"


def _roi(outline: Outline) -> ImagejRoi:
    """An outline as ImageJ keeps it: of one ring as the wand draws it, else as a path."""
    (ring, *holes), *others = outline
    around = ring if not others else np.concatenate([part[0] for part in outline])
    first, last = around.min(0), around.max(0)
    roi = ImagejRoi()
    (roi.left, roi.top), (roi.right, roi.bottom) = first.tolist(), last.tolist()
    is_short = last.max() <= _MAX_COORDINATE and len(ring) - 1 <= _MAX_CORNERS
    if is_short and not holes and not others:
        roi.roitype = ROI_TYPE.TRACED
        roi.n_coordinates = len(ring) - 1
        roi.integer_coordinates = (ring[:-1] - first).astype(np.int32)
    else:
        roi.roitype = ROI_TYPE.RECT  # which is how ImageJ marks a path
        roi.multi_coordinates = np.concatenate([_path(ring) for part in outline for ring in part])
        roi.shape_roi_size = len(roi.multi_coordinates)
    return roi


def _path(ring: Ring) -> NDArray[np.float32]:
    """A ring as steps, each a number and, but for the last, x and y."""
    steps = np.full((len(ring) - 1, 3), _LINE, np.float32)
    steps[0, 0] = _MOVE
    steps[:, 1:] = ring[:-1]
    return np.append(steps.ravel(), np.float32(_CLOSE))
