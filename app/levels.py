"""What the grey levels of an image tell: percentiles of each channel, and where something is.

One pass over the image, in blocks. Zero and fill values (no data, padding, saturated debris) are no
part of the picture and count for nothing.
"""

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from .files.arrays import Pixels, blocks
from .fills import without_fills
from .noise import is_noise

CELL = 64  # pixels along each side of a cell of the map of what stands out
_MEAN = 8  # pixels along each side of the means within a cell
_AROUND = 5  # means along each side of the surroundings that each is compared with
_BLOCK = 2048  # pixels along each side of what is counted at once; a multiple of CELL
# Values of a channel that percentiles are taken from where they can't be counted one by one.
_MAX_VALUES = 2**22
_COUNTED = (np.uint8, np.uint16)
RANGE = (0.5, 99.5)  # percentiles
# Something stands out where means differ by this much more than they do in half of the cells.
_STANDS_OUT = 2.5
_LARGEST = 1e18  # of what is averaged, so that no sum or square of 32 bits is infinite
_COARSE = 4  # pixels along each side of the means by which two channels are compared
_MIN_CORRELATION = 0.3  # from which one follows the other
_MAX_FILLED = 0.9  # of such a part, so that it tells something
_TILE = 512  # pixels along each side of the parts that are tested for noise


@dataclass(frozen=True)
class Levels:
    """The grey levels of a channel that belong to the picture, counted.

    values: (K,) float64, ascending; below: (K + 1,) int64, pixels below each of them, then all.
    fills: the values that were left out, beside zero.
    empty: constant, or nothing but noise.
    """

    values: NDArray[np.float64]
    below: NDArray[np.int64]
    fills: tuple[float, ...]
    empty: bool

    def percentile(self, percent: float) -> float:
        """Linearly interpolated, as ``numpy.percentile`` does; 0 where no pixel is left."""
        last = int(self.below[-1]) - 1
        if last < 0:
            return 0.0
        rank = percent / 100 * last
        places = np.searchsorted(self.below, [np.floor(rank), np.ceil(rank)], side="right") - 1
        # Halves, for the difference of two levels may be too large for any number.
        first, second = self.values[places] / 2
        return float(first + (second - first) * (rank - np.floor(rank))) * 2

    def above(self, value: float) -> "Levels":
        """Those levels alone that are higher than a value."""
        place = int(np.searchsorted(self.values, value, side="right"))
        return Levels(
            self.values[place:], self.below[place:] - self.below[place], self.fills, self.empty
        )

    @property
    def pixels(self) -> int:
        return int(self.below[-1])


@dataclass(frozen=True)
class Survey:
    """What one pass over an image has found.

    shape: (H, W, C) of the image.
    channels: the levels of each.
    grey: whether all channels are equal, as in a grey picture saved in colour.
    content: (rows, columns) float32, how much differs within each cell of ``CELL`` pixels, in
        shares of its channel's range; the largest of the channels that are not empty.
    """

    shape: tuple[int, int, int]
    channels: tuple[Levels, ...]
    grey: bool
    content: NDArray[np.float32]


def survey(image: Pixels) -> Survey:
    """Look once at all of an image.

    Exact for 8 and 16 bits unsigned and for images of up to 4 million pixels; else percentiles are
    those of 4 million pixels drawn at random, always the same.

    Args:
        image: (H, W, C), integers or floats; what is not finite counts for nothing.
    """
    height, width, count = image.shape
    counted = image.dtype in _COUNTED
    levels = int(np.iinfo(image.dtype).max) + 1 if counted else 0
    histograms = np.zeros((count, levels), np.int64)
    share = min(1.0, _MAX_VALUES / (height * width))
    sampled: list[NDArray[Any]] = []
    shape = (count, -(-height // CELL), -(-width // CELL))
    spread = np.zeros(shape, np.float32)

    def look_at(block: NDArray[Any], y: int, x: int) -> bool:
        """Fill in what a block tells; returns whether all of its channels are equal."""
        equal = True
        first = np.ascontiguousarray(block[:, :, 0])
        of_first = _part(first, levels)
        for c in range(count):
            channel = np.ascontiguousarray(block[:, :, c])
            same = not c or bool((channel == first).all())
            equal = equal and same
            part, bins = of_first if same else _part(channel, levels)
            histograms[c] += bins
            spread[c, y : y + part.shape[0], x : x + part.shape[1]] = part
        return equal

    with ThreadPoolExecutor(1) as beside:  # each block while the next one is read
        looks: list[Future[bool]] = []
        for y0, x0, y1, x1 in blocks(image.shape, _BLOCK):
            block = image[y0:y1, x0:x1]
            if not counted:
                flat = block.reshape(-1, count)
                sampled.append(flat if share == 1 else _drawn(flat, share, len(sampled)))
            if looks:
                looks[-1].result()  # no more than two blocks are in memory
            looks.append(beside.submit(look_at, block, y0 // CELL, x0 // CELL))
        equal = [look.result() for look in looks]
    grey = all(equal)
    if counted:
        values = [np.arange(levels, dtype=np.float64)] * count
        counts = list(histograms)
    else:
        pairs = [_count(column) for column in np.concatenate(sampled).T]
        values, counts = [v for v, _ in pairs], [c for _, c in pairs]
    kept = [without_fills(v, n) for v, n in zip(values, counts, strict=True)]
    # What was not recorded doesn't stand out.
    for c, (v, n, fills) in enumerate(kept):
        if not fills:
            continue
        middle = Levels(v, np.append(0, np.cumsum(n)), fills, empty=False).percentile(50)
        for y0, x0, y1, x1 in blocks(image.shape, _BLOCK):
            channel = image[y0:y1, x0:x1][:, :, c]
            filled = np.isin(channel, fills)
            part = _spread(np.where(filled, channel.dtype.type(middle), channel))
            y, x = y0 // CELL, x0 // CELL
            spread[c, y : y + part.shape[0], x : x + part.shape[1]] = part
    # A mask beside other channels is an alpha channel; by itself it is a picture.
    varied = [
        np.count_nonzero(n) > 1 if grey else len(v) > 1
        for n, (v, _, _) in zip(counts, kept, strict=True)
    ]
    full = [
        varied[c] and (_stands_out(spread[c]) or not _all_noise(image, c, kept[c][2]))
        for c in range(count)
    ]
    # A stain that looks like noise by itself belongs to the picture where it follows another one.
    full = [
        full[c] or (varied[c] and any(full[d] and _follows(image, c, d) for d in range(count)))
        for c in range(count)
    ]
    content = np.zeros(shape[1:], np.float32)
    channels = []
    for c, (v, n, fills) in enumerate(kept):
        levels_of = Levels(v, np.append(0, np.cumsum(n)), fills, empty=not full[c])
        low, high = (levels_of.percentile(p) for p in RANGE)
        channels.append(levels_of)
        if full[c]:
            share = spread[c].astype(np.float64) / max(high - low, 1e-12)
            content = np.maximum(content, share.astype(np.float32))
    return Survey((height, width, count), tuple(channels), grey, content)


def _part(channel: NDArray[Any], levels: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The ``_spread`` of (h, w) values, and how many there are of each level, where that counts."""
    if not levels:
        return _spread(channel), np.zeros(0, np.int64)
    bins = cv2.calcHist([channel], [0], None, [levels], [0, levels])
    return _spread(channel), np.rint(bins.ravel()).astype(np.int64)


def _count(column: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    values = _double(column)
    values, counts = np.unique(values[np.isfinite(values)], return_counts=True)
    return values, counts.astype(np.int64)


def _double(values: NDArray[Any]) -> NDArray[np.float64]:
    """Values in 64 bits; of 80 bits what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def _spread(channel: NDArray[Any]) -> NDArray[np.float32]:
    """By how much the means of 8 x 8 pixels stand out of those around, in each cell of (h, w)."""
    smooth = np.asarray(cv2.medianBlur(_finite(channel), 3), np.float32)
    height, width = (max(1, side // _MEAN) for side in smooth.shape)
    means = cv2.resize(
        smooth[: height * _MEAN, : width * _MEAN], (width, height), interpolation=cv2.INTER_AREA
    )
    # Past the edges a slope goes on, so that uneven light doesn't stand out there.
    reach = _AROUND // 2
    around = cv2.blur(np.pad(means, reach, "reflect", reflect_type="odd"), (_AROUND, _AROUND))
    means = means - np.asarray(around[reach:, reach:][:height, :width], np.float32)
    side = CELL // _MEAN
    down, right = -height % side, -width % side
    padded = np.pad(means, ((0, down), (0, right)), mode="edge")
    tiles = padded.reshape(padded.shape[0] // side, side, padded.shape[1] // side, side)
    return np.asarray(tiles.max((1, 3)) - tiles.min((1, 3)), np.float32)


def _drawn(values: NDArray[Any], share: float, seed: int) -> NDArray[Any]:
    """Some of the rows of (N, C), drawn at random, the same for a seed."""
    # Only here, since it takes NumPy a while to load what draws.
    rng = np.random.default_rng(seed)
    return np.asarray(values[rng.integers(len(values), size=round(share * len(values)))])


def _finite(channel: NDArray[Any]) -> NDArray[Any]:
    """A channel as OpenCV can take it."""
    if channel.dtype in _COUNTED:
        return np.ascontiguousarray(channel)
    finite = np.nan_to_num(_double(channel), posinf=0.0, neginf=0.0)
    return np.asarray(np.clip(finite, -_LARGEST, _LARGEST), np.float32)


def _stands_out(spread: NDArray[np.float32]) -> bool:
    return bool(spread.max() > _STANDS_OUT * max(float(np.median(spread)), 1e-12))


def _follows(image: Pixels, first: int, second: int) -> bool:
    """Whether one channel goes along with another in the middle of an image."""
    (top, bottom), (left, right) = (
        (max(0, (side - _TILE) // 2), min(side, (side + _TILE) // 2)) for side in image.shape[:2]
    )
    part = image[top:bottom, left:right]
    size = max(1, (right - left) // _COARSE), max(1, (bottom - top) // _COARSE)
    means = [
        cv2.resize(
            _finite(part[:, :, c]).astype(np.float64), size, interpolation=cv2.INTER_AREA
        ).ravel()
        for c in (first, second)
    ]
    if min(float(mean.std()) for mean in means) == 0:
        return False
    table = np.asarray(np.corrcoef(means))
    return bool(abs(table[0, 1]) > _MIN_CORRELATION)


def _all_noise(image: Pixels, channel: int, fills: tuple[float, ...]) -> bool:
    """Whether some parts of an image, far from each other, are all nothing but noise."""
    height, width = image.shape[:2]
    rows = sorted({0, max(0, height - _TILE)})
    columns = sorted({0, max(0, width - _TILE)})
    for y in rows:
        for x in columns:
            part = image[y : min(y + _TILE, height), x : min(x + _TILE, width)][:, :, channel]
            picture = _finite(part).astype(np.float32)
            filled = np.isin(part, fills)
            if filled.mean() > _MAX_FILLED:
                continue
            picture[filled] = np.median(picture[~filled])
            if not is_noise(picture):
                return False
    return True
