"""The parts of one image, as workers do them: each is a pure function of a path and a place.

What the stages warn of in a part comes back with its result, as texts.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

from app.detect import Boxes, magnify_for, run_windows
from app.files.arrays import Pixels
from app.files.open import open_image
from app.levels import survey
from app.log import warnings_collected
from app.look import Look, Wanted
from app.normalise import Normalised
from app.paste import Mask, paste
from app.segment import LargeMask, segment, segment_large
from app.trial import Choice, choose_look

from .workers import Networks, predictor_of

_FAST = 1  # level of zstd: a label image is small with any


@dataclass(frozen=True)
class Slide:
    """An image, and how it is read and looked at.

    Attributes:
        path: absolute.
        stack: as for ``open_image``.
        networks: what looks at it.
    """

    path: Path
    stack: str
    networks: Networks


@dataclass(frozen=True)
class Cells:
    """The masks of some boxes, on their way from worker to worker.

    Attributes:
        masks: of each box: eight pixels of a row in a byte, or what makes any part of it.
        areas: (N,) pixels of each mask.
        confidences: (N,) as in ``Outlined``.
        warnings: texts.
    """

    masks: list[NDArray[np.uint8] | LargeMask]
    areas: NDArray[np.int64]
    confidences: NDArray[np.float32]
    warnings: list[str]


NO_CELLS = Cells([], np.zeros(0, np.int64), np.zeros(0, np.float32), [])


@dataclass(frozen=True)
class Drawn:
    """A block of the label image, and what is to be known of the cells that begin in it.

    Attributes:
        label: (h, w) uint32 first ids, compressed.
        areas: as in ``Cells``, as are the others.
    """

    label: bytes | bytearray
    areas: NDArray[np.int64]
    confidences: NDArray[np.float32]
    warnings: list[str]


def choose(slide: Slide, wanted: Wanted) -> tuple[Choice, list[str]]:
    """How the image is shown; see ``choose_look``."""
    predictor = predictor_of(slide.networks)
    with _open(slide) as (image, warnings):
        method = predictor.method
        choice = choose_look(image, survey(image), predictor.detector, method, wanted)
    return choice, warnings


def find(slide: Slide, look: Look, places: NDArray[np.int64]) -> tuple[list[Boxes], list[str]]:
    """The boxes in each of some windows, or parts of them; see ``run_windows``."""
    predictor = predictor_of(slide.networks)
    with _open(slide) as (image, warnings):
        normal = Normalised(image, look.limits, look.channels)
        magnified = magnify_for(normal, predictor.method, look.magnification)
        run = predictor.detector, predictor.method, len(places)
        found = list(run_windows(magnified, places, *run))
    return found, warnings


def outline(slide: Slide, look: Look, boxes: NDArray[np.int32], large: bool) -> Cells:
    """The masks of some boxes.

    Args:
        slide: the image.
        look: how it is shown.
        boxes: (N, 4) whole pixels, near to each other unless they are large.
        large: boxes are read part by part; see ``segment_large``.
    """
    predictor = predictor_of(slide.networks)
    batch, places = predictor.resources.crop_batch, boxes.astype(np.int64)
    with _open(slide) as (image, warnings):
        normal = Normalised(image, look.limits, look.channels)
        how = normal, places, predictor.segmenter, predictor.method, batch
        masks: list[NDArray[np.uint8] | LargeMask] = []
        areas: list[int] = []
        sure: list[float] = []
        for mask, confidence in segment_large(*how) if large else segment(*how):
            sure.append(confidence)
            if isinstance(mask, LargeMask):
                masks.append(mask)
                areas.append(mask.area())
            else:
                masks.append(np.packbits(mask, axis=1))
                areas.append(int(np.count_nonzero(mask)))
    return Cells(masks, np.array(areas, np.int64), np.array(sure, np.float32), warnings)


def draw(
    window: tuple[int, int, int, int],
    boxes: NDArray[np.int32],
    ids: NDArray[np.int64],
    sources: list[Cells],
    where: list[tuple[int, int]],
) -> Drawn:
    """A block of the label image; see ``paste``.

    Args:
        window: y0, x0, y1, x1 of the block.
        boxes: (N, 4) those that reach into it, best first.
        ids: (N,) of their cells.
        sources: where their masks are; the first has the cells that begin in this block.
        where: of each box, the number of its source and its place in that.
    """
    own = sources[0]
    masks = [
        _unpacked(sources[source].masks[place], int(x1 - x0))
        for (source, place), (x0, _, x1, _) in zip(where, boxes, strict=True)
    ]
    label = paste(masks, boxes.astype(np.int64), ids, window)
    return Drawn(
        imagecodecs.zstd_encode(label.tobytes(), _FAST), own.areas, own.confidences, own.warnings
    )


def label_of(drawn: Drawn, window: tuple[int, int, int, int]) -> NDArray[np.uint32]:
    """The (h, w) label image of a block, as ``draw`` has made it."""
    y0, x0, y1, x1 = window
    return np.frombuffer(imagecodecs.zstd_decode(drawn.label), np.uint32).reshape(y1 - y0, x1 - x0)


def _unpacked(mask: NDArray[np.uint8] | LargeMask, width: int) -> Mask:
    if isinstance(mask, LargeMask):
        return mask
    return np.unpackbits(mask, axis=1, count=width).view(bool)


@contextmanager
def _open(slide: Slide) -> Iterator[tuple[Pixels, list[str]]]:
    """The image, and what is warned of meanwhile."""
    with warnings_collected() as warnings, open_image(slide.path, slide.stack) as image:
        yield image, warnings
