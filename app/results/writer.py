"""Everything that is asked for of the cells of one file, written plane by plane."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from ..files.arrays import Pixels
from ..files.labels import RESULT_FILES, result_path
from ..files.pixel_size import Size
from ..files.stacks import Grid
from ..normalise import Normalised
from ..outcome import Prediction
from .cells import find_boxes
from .geojson import Measurements, write_geojson
from .measure import Columns, measure
from .outlines import outlines
from .overlay import write_overlay
from .rois import write_rois
from .table import on_plane, write_table


class ResultWriter:
    """Takes the cells of each plane of a file, and writes what is asked for of them.

    Args:
        label: the label image, beside which the results go.
        wanted: which ones, by their names on the command line.
        name: of the image, of which the ids of its cells are made.
        channel_names: of all channels, or none.
        pixel_size: (y, x) micrometres, where it is known.
        grid: of the planes.

    Raises:
        OSError: the folder can't be written to, or is full; so do the methods.
    """

    def __init__(
        self,
        label: Path,
        wanted: frozenset[str],
        name: str,
        channel_names: Sequence[str],
        pixel_size: Size | None,
        grid: Grid,
    ) -> None:
        self._paths = {kind: result_path(label, kind) for kind in wanted & RESULT_FILES.keys()}
        self._names, self._pixel_size, self._grid = channel_names, pixel_size, grid
        self._tables: list[Columns] = []
        self._planes, self._most = 0, -1
        with ExitStack() as files:
            self._features = [
                files.enter_context(write_geojson(self._paths[kind], name, grid))
                for kind in ("geojson", "geojson.gz")
                if kind in self._paths
            ]
            rois = self._paths.get("rois")
            self._rois = files.enter_context(write_rois(rois, grid)) if rois else None
            self._files = files.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """At the end, if all went well, the files get their names."""
        self._files.__exit__(kind, error, trace)
        if error is None and "table" in self._paths:
            write_table(self._paths["table"], self._tables)

    def add(self, image: Pixels, found: Prediction) -> None:
        """Add the cells of the next plane.

        Args:
            image: (H, W, C) as it was read.
            found: its cells.
        """
        labels, plane = found.labels, self._planes
        self._planes += 1
        boxes = find_boxes(labels, labels.count)
        if "overlay" in self._paths and labels.count > self._most:
            self._most = labels.count  # of a stack, the plane with the most cells is shown
            shown = Normalised(image, found.choice.look.limits, found.choice.look.channels)
            write_overlay(self._paths["overlay"], shown, labels, boxes, self._pixel_size)
        if not self._paths.keys() - {"overlay"}:
            return
        about = found.scores, found.confidences, self._names, self._pixel_size
        columns = measure(labels, image, boxes, *about)
        if self._grid.axes:
            columns = on_plane(columns, self._grid, plane)
        if "table" in self._paths:
            self._tables.append(columns)
        if self._features or self._rois:
            measurements = Measurements(columns)
            for cell, outline in outlines(labels, boxes):
                for features in self._features:
                    features.add(cell, outline, measurements, plane)
                if self._rois:
                    self._rois.add(cell, outline, plane)
