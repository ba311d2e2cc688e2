"""A detector that is surest of cells of one size, and the look that is chosen for it."""

import dataclasses
from typing import Any

import cv2
import numpy as np

from app.levels import survey
from app.look import Look, Wanted, usual_look
from app.trial import choose_look
from tests.app.made_cells import nuclei
from tests.app.make_toy_graphs import METHOD as TOY_METHOD

METHOD = dataclasses.replace(
    TOY_METHOD,
    window=1536,
    stride=1280,
    max_magnification=1.4,
    magnifications=[0.7, 0.5, 1.4, 2.0],
    look_pixels=600_000,
    nms_iou=0.5,
    crop_size=64,
)
NOTHING = Wanted()


class Eye:
    """A detector of bright blobs that is surest of those of one size.

    Args:
        best: square root of the area of the box of which it is surest, pixels as it sees them.
        sharp: how fast it gets less sure of others; of twice or half as large ones by 0.48 times
            this.
        bearable: noise, the median deviation from the median, above which it sees nothing.

    Attributes:
        calls: times it was run.
        pixels: that it has seen.
    """

    def __init__(self, best: float, sharp: float = 0.7, bearable: float = 256.0) -> None:
        self.best, self.sharp, self.bearable = best, sharp, bearable
        self.calls = self.pixels = 0

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        self.pixels += batch.shape[0] * batch.shape[1] * batch.shape[2]
        seen = [self.see(image) for image in batch]
        most = max(len(scores) for _, scores in seen)
        boxes = [np.pad(boxes, ((0, most - len(boxes)), (0, 0))) for boxes, _ in seen]
        scores = [np.pad(scores, (0, most - len(scores))) for _, scores in seen]
        return [np.stack(boxes).astype(np.float32), np.stack(scores).astype(np.float32)]

    def see(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        brightest = cv2.max(cv2.max(*cv2.split(image)[:2]), image[:, :, 2])
        if self.bearable < 256:
            few = brightest[::4, ::4]
            if np.median(np.abs(few - np.median(few))) > self.bearable:
                return np.zeros((0, 4)), np.zeros(0)
        light = cv2.blur(brightest, (3, 3))
        blobs = (light > 127).astype(np.uint8)
        x, y, wide, high, area = cv2.connectedComponentsWithStats(blobs, connectivity=4)[2][1:].T
        good = (area > 12) & (wide < 300)
        boxes = np.stack((x, y, x + wide, y + high), 1)[good]
        off = np.log(np.sqrt(wide * high)[good] / self.best)
        return boxes, 0.95 - self.sharp * off**2


def picture(shape: tuple[int, int], radius: float, count: int, seed: int = 1) -> np.ndarray:
    """(H, W, 1) uint8 of bright nuclei on a dark background."""
    rng = np.random.default_rng(seed)
    image = 30 + nuclei(rng, shape, count, radius, (150, 180))[0] + rng.normal(0, 3, shape)
    return image.clip(0, 255).astype(np.uint8)[:, :, None]


def choose(
    image: np.ndarray, eye: Any, wanted: Wanted = NOTHING, **numbers: Any
) -> tuple[Look, Any, Look]:
    """The look, what was found in all of the image, and the usual look; numbers of the method."""
    method, seen = dataclasses.replace(METHOD, **numbers), survey(image)
    choice = choose_look(image, seen, eye, method, wanted)
    assert choice.usual == usual_look(seen, method, wanted)
    return choice.look, choice.found, choice.usual
