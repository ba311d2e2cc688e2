"""What an epoch is made of: its windows, their order, the samples of each step."""

import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from app.settings import Method
from app.tile import scale_factor
from training.config import CropConfig, StageConfig


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    """The order (N,) in which an epoch goes through ``count`` windows."""
    return np.random.default_rng([seed, epoch, 1]).permutation(count)


def count_steps(stage: StageConfig, count: int) -> int:
    """Steps of a stage whose epoch is over ``count`` windows or cells."""
    return stage.steps or math.ceil(stage.epochs * count / stage.batch)


def window_centres(
    shape: tuple[int, ...], config: CropConfig, method: Method
) -> list[tuple[float, float]]:
    """Middles xy, in image pixels, of the windows that an image of (H, W) is trained in.

    Without a stride of windows there is just one: an epoch then draws as many crops as images.
    """
    if not config.window_stride:
        return [(shape[1] / 2, shape[0] / 2)]
    scale = scale_factor(shape, method)
    rows, columns = (
        [
            (start + min(config.crop, length) / 2) / scale
            for start in window_starts(length, config.crop, config.window_stride)
        ]
        for length in (round(n * scale) for n in shape)
    )
    return [(x, y) for y in rows for x in columns]


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """Where windows of one size start along an axis; the last is shifted back to end with it.

    Args:
        length: pixels along the axis.
        window: pixels of a window, more than ``stride``.
        stride: pixels from window to window.
    """
    last = max(length - window, 0)
    return [min(k * stride, last) for k in range(math.ceil(last / stride) + 1)]


class Batches(Sampler[list[int]]):
    """The samples of each step, in order: a resumed run sees just those that it missed.

    Args:
        start: the first step; ``stop``: the first one that is not done.
        batch: samples of a step.
        share: which of them this process takes, as places in the batch.
    """

    def __init__(self, start: int, stop: int, batch: int, share: range) -> None:
        self.start, self.stop, self.batch, self.share = start, stop, batch, share

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.start, self.stop):
            yield [step * self.batch + place for place in self.share]

    def __len__(self) -> int:
        return self.stop - self.start
