"""A picture of an image with its cells outlined, to see at a glance whether they are right."""

import math
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..files.arrays import Pixels
from ..files.atomic import atomic_write
from ..files.pixel_size import Size
from .cells import LabelImage
from .colours import choose_colours, find_lines
from .shrink import fit, shrink, shrink_labels

MAX_SIDE = 4096  # pixels; larger images are made smaller
QUALITY = 88  # of JPEG files, 0-100
# Without it JPEG halves the resolution of colours, and lines of one pixel turn grey.
JPEG = [
    *(cv2.IMWRITE_JPEG_QUALITY, QUALITY),
    *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
]
_BAR = 0.25  # of the picture's width, which a scale bar takes at most
_SHORTEST_BAR = 16  # pixels


def write_overlay(
    path: Path,
    image: Pixels,
    labels: LabelImage,
    boxes: NDArray[np.int64],
    pixel_size: Size | None = None,
) -> None:
    """Write the picture as JPEG, at most 4096 pixels high and wide.

    Lines are one pixel wide and lie inside the cells; near cells differ in colour.

    Args:
        path: of the result; an existing file is replaced.
        image: (H, W, 3) uint8 RGB, as the networks were shown it (app/normalise.py).
        labels: (H, W), 1 to N are the cells.
        boxes: (N, 4) of its cells, as ``find_boxes`` gives them.
        pixel_size: (y, x) micrometres, for a scale bar; None where it isn't known.

    Raises:
        OSError: the folder can't be written to, or is full.
    """
    size = fit(labels.shape, MAX_SIDE)
    picture = shrink(image, size)
    small = shrink_labels(labels, boxes, size)
    draw_lines(picture, small, choose_colours(small, len(boxes)))
    if pixel_size:
        draw_scale_bar(picture, pixel_size[1] * labels.shape[1] / size[1])
    with atomic_write(path) as part:
        part.write_bytes(encode_jpeg(picture))


def encode_jpeg(picture: NDArray[np.uint8]) -> bytes:
    """(H, W, 3) uint8 RGB as a JPEG file."""
    _, data = cv2.imencode(".jpg", picture[:, :, ::-1], JPEG)
    return data.tobytes()


def draw_lines(
    picture: NDArray[np.uint8], labels: NDArray[np.integer], colours: NDArray[np.uint8]
) -> None:
    """Draw the outline of each cell into a picture.

    Args:
        picture: (H, W, 3) uint8 RGB.
        labels: (H, W).
        colours: (N + 1, 3) uint8 RGB by label.
    """
    line = find_lines(labels)
    picture[line] = colours[labels[line]]


def bar_length(micrometres: float) -> float:
    """The longest of 1, 2, 5, 10, 20, 50 and so on, and 0.5, 0.2, 0.1, that is no longer."""
    power = 10.0 ** math.floor(math.log10(micrometres) + 1e-9)
    return power * max(n for n in (1, 2, 5) if n * power <= micrometres * (1 + 1e-9))


def draw_scale_bar(picture: NDArray[np.uint8], pixel_size: float) -> None:
    """Draw a scale bar into the lower right corner of a picture, unless that is too small for it.

    Args:
        picture: (H, W, 3) uint8.
        pixel_size: micrometres along a row of pixels.
    """
    height, width = picture.shape[:2]
    length = bar_length(_BAR * width * pixel_size)
    bar = round(length / pixel_size)
    # Whole millimetres are easier to read than thousands of micrometres.
    text = f"{length / 1000:g} mm" if length >= 1000 else f"{length:g} um"
    scale = min(max(width / 1500, 0.4), 2.0)
    thick = max(1, round(2 * scale))
    font = cv2.FONT_HERSHEY_SIMPLEX
    (text_width, text_height), below = cv2.getTextSize(text, font, scale, thick)
    gap = max(3, round(10 * scale))
    box = max(bar, text_width) + 2 * gap, text_height + below + thick * 2 + 3 * gap
    if bar < _SHORTEST_BAR or box[0] > width / 2 or box[1] > height / 2:
        return
    left, top = width - box[0] - gap, height - box[1] - gap
    picture[top : top + box[1], left : left + box[0]] //= 4
    middle = left + box[0] // 2
    start = middle - bar // 2
    line = top + box[1] - gap - thick * 2
    picture[line : line + thick * 2, start : start + bar] = 255
    # Drawn apart, for OpenCV needs a picture of its own.
    letters = np.zeros((height - top, box[0]), np.uint8)
    place = (box[0] - text_width) // 2, gap + text_height
    cv2.putText(letters, text, place, font, scale, 255, thick, cv2.LINE_AA)
    shown = picture[top:, left : left + box[0]]
    np.maximum(shown, letters[:, :, None], out=shown)
