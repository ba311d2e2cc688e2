"""What goes wrong between a microscope and a file: light, focus, noise, dirt, codecs, captions.

Every function takes its own ``numpy.random.Generator`` and an image (H, W, 3) uint8, and gives one
of the same shape; nothing moves. Each is rare, so that most crops show at most two.
"""

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from training.augment.fields import slope, smooth_field, to_levels, vignette

Image = NDArray[np.uint8]
Change = Callable[[np.random.Generator, Image], Image]

_MAX_DEBRIS = 0.03  # of a crop's pixels
_CHARACTERS = "0123456789 ABCDEFGHKLMNPRSTXYZabcdeghkmnprstuxyz+-:."


def spoil(rng: np.random.Generator, image: Image, cell_side: float, factor: float = 1.0) -> Image:
    """Let each artefact happen with its own modest probability.

    Args:
        image: (H, W, 3) uint8.
        cell_side: a typical cell's, in pixels; focus is lost by a share of it.
        factor: of all the probabilities.
    """

    def blur(rng: np.random.Generator, image: Image) -> Image:
        return defocus(rng, image, cell_side)

    changes: tuple[tuple[float, Change], ...] = (
        (0.06, debris),
        (0.03, scratches),
        (0.12, illumination),
        (0.09, blur),
        (0.12, camera_noise),
        (0.05, few_levels),
        (0.05, caption),
        (0.10, jpeg),
    )
    for probability, change in changes:
        if rng.random() < probability * factor:
            image = change(rng, image)
    return image


def illumination(rng: np.random.Generator, image: Image) -> Image:
    """Light that falls off to the edges, to one side or in clouds; or a glow that is added."""
    size = (image.shape[0], image.shape[1])
    kind = rng.integers(3)
    field = (
        vignette(rng, size)
        if kind == 0
        else slope(rng, size)
        if kind == 1
        else smooth_field(rng, size, int(rng.integers(2, 5)))
    )
    if rng.random() < 0.3:
        strength = np.float32(rng.uniform(20, 90))
        return to_levels(image * np.float32(0.8) + (strength * field)[:, :, None])
    strength = np.float32(rng.uniform(0.2, 0.7))
    return to_levels(image * (1 - strength + strength * field)[:, :, None])


def camera_noise(rng: np.random.Generator, image: Image) -> Image:
    """Shot noise that grows with the root of the light, and read noise; of one or each channel."""
    grey = (image[::16, ::16, :1] == image[::16, ::16]).all()
    shape = (*image.shape[:2], 1 if grey or rng.random() < 0.5 else 3)
    full = rng.uniform(20.0, 300.0)  # electrons at the brightest level
    shot = np.sqrt(np.arange(256) / 255 * full) * (255 / full)
    spread = np.sqrt(shot**2 + rng.uniform(0.0, 8.0) ** 2).astype(np.float32)
    noise = rng.standard_normal(shape, np.float32)
    return to_levels(image + noise * spread[image[:, :, :1] if shape[2] == 1 else image])


def defocus(rng: np.random.Generator, image: Image, cell_side: float) -> Image:
    """A Gaussian blur, or the disc of an open lens, never of more than a part of a cell."""
    max_width = float(np.clip(cell_side / 10, 0.6, 5.0))
    width = rng.uniform(0.5, max_width)
    if rng.random() < 0.5:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), width), np.uint8)
    radius = math.ceil(1.5 * width)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = np.clip(1.5 * width + 0.5 - np.hypot(x, y), 0.0, 1.0)
    return np.asarray(cv2.filter2D(image, -1, disc / disc.sum()), np.uint8)


def jpeg(rng: np.random.Generator, image: Image) -> Image:
    """Written as a JPEG and read again."""
    quality = int(rng.integers(20, 85))
    blue_first = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", blue_first, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR_RGB), np.uint8)


def few_levels(rng: np.random.Generator, image: Image) -> Image:
    """4 to 64 grey levels."""
    step = 256 // 2 ** int(rng.choice((2, 3, 4, 5, 6), p=(0.08, 0.17, 0.25, 0.25, 0.25)))
    table = np.arange(256) // step * step * 255 // (256 - step)
    return np.asarray(cv2.LUT(image, table.astype(np.uint8)), np.uint8)


def debris(rng: np.random.Generator, image: Image) -> Image:
    """Bright or dark specks and fibres, which no label asks for."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    room = _MAX_DEBRIS * height * width
    for _ in range(int(rng.integers(1, 7))):
        before = cover.copy()
        x, y = (int(v) for v in rng.integers(0, (width, height)))
        if rng.random() < 0.4:
            points = _walk(rng, (x, y), float(rng.uniform(0.1, 0.6)) * width)
            thick = int(rng.integers(1, 5))
            cv2.polylines(cover, [points], False, (255,), thick, cv2.LINE_AA)
        else:
            angles = np.sort(rng.uniform(0, 2 * math.pi, 9))
            radii = rng.uniform(0.3, 1.0, 9) * math.exp(rng.uniform(math.log(2), math.log(28)))
            blob = np.stack((x + radii * np.cos(angles), y + radii * np.sin(angles)), 1)
            cv2.fillPoly(cover, [np.rint(blob).astype(np.int32)], (255,), cv2.LINE_AA)
        if np.count_nonzero(cover) > room:
            cover = before
    return _laid_over(rng, image, cover)


def scratches(rng: np.random.Generator, image: Image) -> Image:
    """Thin straight lines, bright or dark, from edge to edge or shorter."""
    height, width = image.shape[:2]
    cover = np.zeros((height, width), np.uint8)
    for _ in range(int(rng.integers(1, 6))):
        x, y, to_x, to_y = (int(v) for v in rng.integers(0, (width, height, width, height)))
        cv2.line(cover, (x, y), (to_x, to_y), (int(rng.integers(80, 256)),), 1, cv2.LINE_AA)
    return _laid_over(rng, image, cover)


def caption(rng: np.random.Generator, image: Image) -> Image:
    """Letters, a scale bar or a ruler, burnt in near an edge, white, black or coloured."""
    height, width = image.shape[:2]
    drawn = np.ascontiguousarray(image)
    drawn = drawn.copy() if drawn is image else drawn
    white, black = (255, 255, 255), (0, 0, 0)
    colour = (white, white, black, (255, 255, 0), (255, 0, 0))[rng.integers(5)]
    x = int(rng.uniform(0.02, 0.6) * width)
    y = int((0.06 if rng.random() < 0.5 else 0.9) * height)
    thick = int(rng.integers(1, 3))
    kind = rng.integers(3)
    if kind != 1:
        length = int(rng.integers(1, 12))
        text = "".join(_CHARACTERS[n] for n in rng.integers(0, len(_CHARACTERS), length))
        size = float(rng.uniform(0.35, 1.3)) * min(1.0, height / 300)
        face = (cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX)[rng.integers(2)]
        cv2.putText(drawn, text, (x, y), face, size, colour, thick, cv2.LINE_AA)
    if kind != 0:
        long = int(rng.uniform(0.08, 0.3) * width)
        below = min(y + int(0.03 * height), height - 1)
        cv2.rectangle(drawn, (x, below), (x + long, below + thick + 1), colour, -1)
        if rng.random() < 0.3:
            for place in np.linspace(x, x + long, int(rng.integers(3, 12))).astype(int):
                cv2.line(drawn, (int(place), below - 6), (int(place), below), colour, 1)
    return drawn


def _walk(rng: np.random.Generator, start: tuple[int, int], length: float) -> NDArray[np.int32]:
    """A smoothly bent line of 12 points xy, (12, 2)."""
    angles = rng.uniform(0, 2 * math.pi) + np.cumsum(rng.normal(0.0, 0.35, 11))
    steps = np.stack((np.cos(angles), np.sin(angles)), 1) * (length / 11)
    points = np.concatenate((np.zeros((1, 2)), np.cumsum(steps, 0))) + start
    return np.rint(points).astype(np.int32)


def _laid_over(rng: np.random.Generator, image: Image, cover: NDArray[np.uint8]) -> Image:
    """The image under a layer of one grey level or colour, as thick as ``cover`` (H, W) says."""
    extreme = 255 if rng.random() < 0.5 else 0
    level = rng.uniform(0, 255, 3) if rng.random() < 0.2 else np.full(3, extreme)
    soft = cv2.GaussianBlur(cover, (0, 0), rng.uniform(0.5, 2.0))
    rows, columns = np.nonzero(soft)
    alpha = soft[rows, columns, None].astype(np.float32) * np.float32(rng.uniform(0.5, 1.0) / 255)
    laid = image.copy()
    under = laid[rows, columns].astype(np.float32)
    laid[rows, columns] = to_levels(under + alpha * (level.astype(np.float32) - under))
    return laid
