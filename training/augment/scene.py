"""One crop of one labelled image, from what was recorded to what the detector is shown."""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.artefacts import spoil
from training.augment.fluorescence import stain
from training.augment.framing import can_reflect, outside, reflect_label, warp_recording
from training.augment.geometry import Affine, Size, moved_boxes, warp_label
from training.augment.limits import draw_limits, show
from training.augment.packing import RODS, pack
from training.augment.photometry import photometric
from training.config import DetectorConfig, VariedConfig
from training.data import Labelled
from training.layout import UNKNOWN

_INVERTED_GREY, _INVERTED_COLOUR = 0.12, 0.03  # probabilities, where there are artefacts


class Scene(NamedTuple):
    """A crop.

    image: (H, W, 3) uint8.
    label: (H, W) uint16 label image.
    areas: (highest id + 1,) float64, pixels that each id would have if nothing were cut off.
    ignored: (M, 4) float32 xyxy of what may be cells, within the crop.
    """

    image: NDArray[np.uint8]
    label: NDArray[np.uint16]
    areas: NDArray[np.float64]
    ignored: NDArray[np.float32]


def render(
    rng: np.random.Generator,
    sample: Labelled,
    affine: Affine,
    size: Size,
    config: DetectorConfig,
    pad_value: int,
) -> Scene:
    """Show a part of an image as another microscope might have shown it.

    Args:
        affine: (2, 3), image xy to crop xy.
        size: (H, W) of the crop.
        config: how often what happens.
        pad_value: grey level past the image's edge.
    """
    scale = float(np.sqrt(abs(np.linalg.det(affine[:, :2]))))
    past = outside(sample.label.shape, affine, size)
    reflect = past is not None and rng.random() < config.reflect
    reflect = reflect and not len(sample.ignored)  # these have no mirror images
    reflect = reflect and can_reflect(sample.label.shape, affine, size)
    if reflect:
        label, origin = reflect_label(sample.label, sample.boxes, sample.ids, affine, size)
        areas = sample.areas[origin] * scale**2
    else:
        label, areas = warp_label(sample.label, affine, size), sample.areas * scale**2
    crop = warp_recording(sample.recording, affine, size, reflect)
    image = show(crop, draw_limits(rng, sample.recording, config.limits, sample.modality == "Fluo"))

    if sample.recording.grey and rng.random() < config.packed:
        rods = sample.source.startswith(RODS)
        image, label, areas = pack(rng, image, label, areas, rods)
    image = colour(rng, image, label, sample, scale, config)
    if past is not None and not reflect:
        image[past] = pad_value
    return Scene(image, label, areas, moved_boxes(sample.ignored, affine, size))


def colour(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    label: NDArray[np.uint16],
    sample: Labelled,
    scale: float,
    config: VariedConfig,
) -> NDArray[np.uint8]:
    """Show a crop of an image in other stains, and as ``finish`` changes it.

    Args:
        image: (H, W) uint8 where the recording is grey, else (H, W, 3).
        label: (H, W) its label image.
        sample: the image that it is of.
        scale: pixels of the crop per pixel of the image.

    Returns:
        (H, W, 3) uint8.
    """
    side = _typical_side(sample, scale)
    fluorescence, grey = sample.modality == "Fluo", sample.recording.grey
    if grey:
        composite = fluorescence and rng.random() < config.composites
        image = stain(rng, image, label, side) if composite else _three(image)
        grey = not composite
    # One channel alone may show the cells of fluorescence, and of an image that may be that.
    drop = sample.modality not in ("Fluo", UNKNOWN)
    return finish(rng, image, side, config, grey, drop=drop)


def finish(
    rng: np.random.Generator,
    image: NDArray[np.uint8],
    side: float,
    config: VariedConfig,
    grey: bool = False,
    *,
    drop: bool,
) -> NDArray[np.uint8]:
    """Change tone and colour, then let artefacts happen.

    Args:
        image: (H, W, 3) uint8.
        side: a typical cell's, in pixels.
        grey: whether the three channels are equal.
        drop: whether a channel may be lost.

    Returns:
        (H, W, 3) uint8, another array.
    """
    if rng.random() < config.photometric:
        if config.artefacts:
            max_blur = float(np.clip(side / 10, 0.5, 2.5))
            inverted = _INVERTED_GREY if grey else _INVERTED_COLOUR
            image = photometric(rng, image, max_blur, inverted, drop or grey, True)
        else:
            image = photometric(rng, image)
    if config.artefacts:
        image = spoil(rng, image, side, config.artefacts)
    return image


def _typical_side(sample: Labelled, scale: float) -> float:
    """The median side, the root of its box's area, of an image's cells in a crop, in pixels."""
    return scale * float(np.median(np.sqrt(np.prod(sample.boxes[:, 2:] - sample.boxes[:, :2], 1))))


def _three(grey: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.merge((grey, grey, grey)), np.uint8)
