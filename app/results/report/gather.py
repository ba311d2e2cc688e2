"""What the report tells of each image: from its record in run.json and the files beside it."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...files.arrays import ImageError, Pixels, blocks
from ...files.identity import identity
from ...files.labels import result_path
from ...files.open import open_image
from ...files.tiff import TiffImage
from ...log import warnings_collected
from ...normalise import Normalised
from ..cells import LabelImage, find_boxes
from ..overlay import MAX_SIDE
from .pictures import Budget, Picture, Silhouette, make_picture
from .zoom import write_zoom

Record = Mapping[str, Any]
_BLOCK = 2048  # pixels: side of the part of a label image that is counted at once
_IN_MEMORY = 2**26  # pixels of a label image that is read as a whole
_SUFFIX = "_label.tiff"
_ZOOM = "_zoom.html"
# What may lie beside a label image: by what the report calls it, its name on the command line.
_BESIDE = {
    "overlay": "overlay",
    "table": "table",
    "outlines": "geojson",
    "zipped outlines": "geojson.gz",
    "ROIs": "rois",
}
# Whatever is wrong with a file of one image must not cost the report.
_BROKEN = (ImageError, OSError, ValueError, LookupError, TypeError, MemoryError, csv.Error)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One image."""

    name: str
    is_done: bool
    count: int = 0
    """Cells; of a stack, of all planes together."""
    shape: tuple[int, int] | None = None
    """(H, W)."""
    planes: int = 1
    areas: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """Of the cells, in ``unit``; none if they aren't known."""
    unit: str = "px²"
    pixel_area: float = math.nan
    """Square micrometres."""
    scores: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """0-1; none if they aren't known."""
    shown_scores: tuple[float, ...] = ()
    """Of the cells that the picture outlines; none if they aren't known."""
    at_edge: int = 0
    """Cells that touch the image's edge."""
    seconds: float = math.nan
    note: str = ""
    """How it was shown to the networks, if that is not the usual way."""
    warnings: tuple[str, ...] = ()
    error: str = ""
    picture: Picture | None = None
    remarks: tuple[str, ...] = ()
    """What the report lacks of it, and why."""
    links: Mapping[str, str] = field(default_factory=dict)
    """Paths of the files beside the report, by what they are called."""

    @property
    def median_area(self) -> float:
        return float(np.median(self.areas)) if len(self.areas) else math.nan

    @property
    def median_score(self) -> float:
        known = self.scores[np.isfinite(self.scores)]
        return float(np.median(known)) if len(known) else math.nan


class _Labels:
    """A file's label image, which is read in parts."""

    def __init__(self, image: TiffImage) -> None:
        self.image, self.shape = image, image.shape[:2]

    def __getitem__(self, window: tuple[slice, slice]) -> NDArray[Any]:
        return self.image[window][:, :, 0]


def gather(record: Record, folder: Path, inputs: Path | None, stack: str, limits: Budget) -> Entry:
    """All that the report tells of one image.

    Of a stack the plane with the most cells is shown. A zoomable page is written for an image that
    is too large for its overlay.

    Args:
        record: of the image, from run.json.
        folder: of the outputs.
        inputs: folder of the images; None, or one in which they aren't any more, if they are gone.
        stack: by which the images were opened, see ``open_image``.
        limits: of the picture.
    """
    name, warnings = str(record["image"]), tuple(map(str, record.get("warnings") or ()))
    if record["status"] != "done":
        error = str(record.get("error", ""))
        return Entry(name=name, is_done=False, warnings=warnings, error=error)
    pixel_size = record.get("pixel_size")
    entry = Entry(
        name=name,
        is_done=True,
        count=int(record.get("instances", 0)),
        shape=(int(record["height"]), int(record["width"])) if "height" in record else None,
        planes=len(record.get("planes") or (0,)),
        seconds=sum((record.get("seconds") or {}).values()),
        pixel_area=math.prod(pixel_size) if pixel_size else math.nan,
        note=str(record.get("note") or ""),
        warnings=warnings,
    )
    files = _Files(record, folder, inputs, stack, limits)
    with warnings_collected():  # which the run has told
        try:
            entry = replace(entry, **files.read())
        except FileNotFoundError:
            files.remarks.append("its label image is gone, so it can't be shown")
        except _BROKEN as error:
            files.remarks.append(f"it can't be shown: {error}")
    return replace(entry, remarks=tuple(files.remarks), links=_links(record, folder))


class _Files:
    """What the files of an image that was segmented have to tell; arguments as for ``gather``.

    Attributes:
        remarks: what is missing, and why.
    """

    def __init__(
        self, record: Record, folder: Path, inputs: Path | None, stack: str, limits: Budget
    ) -> None:
        self.record, self.stack, self.limits = record, stack, limits
        self.source = None if inputs is None else inputs / record["image"]
        self.path = folder / record["label"]
        self.base = self.path.with_name(self.path.name.removesuffix(_SUFFIX))
        self.remarks: list[str] = []

    def read(self) -> dict[str, Any]:
        """What an ``Entry`` has of them."""
        planes = self.record.get("planes") or [self.record]
        counts = [int(plane["instances"]) for plane in planes]
        shown = counts.index(max(counts))
        areas, at_edge, picture = [], 0, None
        for number, (plane, count) in enumerate(zip(planes, counts, strict=True)):
            # A label image has a page for all places of its grid, also where no plane is.
            place, lengths = plane.get("position", ()), self.record.get("lengths", ())
            page = np.ravel_multi_index(place, lengths) if lengths else 0
            with TiffImage(self.path, str(int(page))) as file:
                labels: LabelImage = _Labels(file)
                if math.prod(labels.shape) <= _IN_MEMORY:
                    labels = labels[:, :]
                areas.append(_count_pixels(labels, count))
                boxes = find_boxes(labels, count)
                ends = labels.shape[::-1]
                at_edge += int(((boxes[:, :2] == 0) | (boxes[:, 2:] == ends)).any(1).sum())
                if number == shown:
                    stack = self.stack if len(planes) == 1 else str(shown)
                    picture = self._picture(stack, plane["look"], labels, boxes)
        found = {
            "areas": np.concatenate(areas).astype(np.float32),
            "at_edge": at_edge,
            "picture": picture,
        }
        scores = self._scores(sum(counts))
        if len(scores) and picture:
            of_shown = scores[sum(counts[:shown]) :]
            found["shown_scores"] = tuple(of_shown[np.array(picture.labels, int) - 1].tolist())
        return found | {"scores": scores}

    def _picture(
        self, stack: str, look: Record, labels: LabelImage, boxes: NDArray[np.int64]
    ) -> Picture:
        """A picture of the image with its cells; of the cells alone, if the image is gone."""
        given = labels, boxes, self.limits
        if self.source is None or not self.source.exists():
            self.remarks.append("the image is gone: only its cells are shown")
            return make_picture(Silhouette(labels), *given)
        known = self.record.get("file")
        if known and known[:3] != identity(self.source):
            self.remarks.append("the image is another file now: only its cells are shown")
            return make_picture(Silhouette(labels), *given)
        try:
            with open_image(self.source, stack) as image:
                if image.shape[:2] != labels.shape:
                    raise ValueError("it has another size now")
                shown = _as_shown(image, look)
                if max(labels.shape) > MAX_SIDE:
                    self._zoom(shown, labels, boxes)
                return make_picture(shown, *given)
        except _BROKEN as error:
            self.remarks.append(f"only its cells are shown, for the image can't be read: {error}")
            return make_picture(Silhouette(labels), *given)

    def _zoom(self, image: Pixels, labels: LabelImage, boxes: NDArray[np.int64]) -> None:
        try:
            write_zoom(self.base, image, labels, boxes, self.record.get("pixel_size"))
        except OSError as error:
            self.remarks.append(f"its zoomable page can't be written: {error}")

    def _scores(self, count: int) -> NDArray[np.float32]:
        """(N,) scores of the cells of all planes, from the table; none if that is not there."""
        none = np.zeros(0, np.float32)
        if "table" not in (self.record.get("results") or {}):
            return none
        try:
            table = result_path(self.path, "table")
            with table.open(encoding="utf-8", newline="") as file:
                reader = csv.reader(file)
                place = next(reader).index("score")
                values = [float(row[place] or "nan") for row in reader]
        except FileNotFoundError:
            return none
        except (*_BROKEN, StopIteration) as error:
            self.remarks.append(f"its table can't be read: {error or 'it is empty'}")
            return none
        if len(values) != count:
            self.remarks.append(f"its table has {len(values)} cells, run.json {count}")
            return none
        return np.array(values, np.float32)


def _count_pixels(labels: LabelImage, count: int) -> NDArray[np.int64]:
    """(N,) pixels of each cell.

    Raises:
        ValueError: the label image has other cells.
    """
    pixels = np.zeros(count + 1, np.int64)
    for y0, x0, y1, x1 in blocks(labels.shape, _BLOCK):
        here = np.bincount(labels[y0:y1, x0:x1].ravel(), minlength=count + 1)
        if len(here) > count + 1:
            raise ValueError(f"its label image has more than the {count} cells of run.json")
        pixels += here
    if not pixels[1:].all():
        raise ValueError(f"its label image has fewer than the {count} cells of run.json")
    return pixels[1:]


def _as_shown(image: Pixels, look: Record) -> Normalised:
    """The image as the networks were shown it."""
    limits = [
        None if pair is None or None in pair else (float(pair[0]), float(pair[1]))
        for pair in look["limits"]
    ]
    return Normalised(image, limits, look["channels"])


def _links(record: Record, folder: Path) -> dict[str, str]:
    """The files of an image, relative to the report."""
    label, made = Path(str(record["label"])), record.get("results") or {}
    paths = {what: result_path(label, kind) for what, kind in _BESIDE.items() if kind in made}
    zoom = label.with_name(label.name.removesuffix(_SUFFIX) + _ZOOM)
    paths |= {"zoom": zoom, "label image": label}
    return {what: path.as_posix() for what, path in paths.items() if (folder / path).is_file()}
