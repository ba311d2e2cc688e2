"""The F1 of one image, by the rules of the NeurIPS 2022 Cell Segmentation challenge.

Needs numpy, scipy and tifffile alone.

Rules (after ``baseline/compute_metric.py`` of JunMa11/NeurIPS-CellSeg):
- Instances that touch the outer two pixels are removed, from truth and prediction separately.
- Truth and prediction are matched one to one, so that the most pairs reach the threshold in IoU;
  each such pair is a true positive. The organisers' Hungarian costs put every pair above any sum
  of IoUs, so a maximum bipartite matching counts the same, and needs the overlapping pairs alone.
- An image of 25 million pixels or more is cut into blocks of 2000 x 2000, padded with zeros. Each
  block has its own border removal and matching, and F1 comes from the sums over the blocks. An
  instance cut by a block's edge therefore does not count.
- F1 is 0 without true positives, also where neither truth nor prediction has an instance left.

Where this differs, on purpose:
- A missing prediction scores 0; the organisers' script looks only at the predictions there are.
- Misses are counted also where a prediction, or a block of it, is empty. There the organisers'
  script reports 0 of them; F1 does not use that number and is the same.
- A prediction keeps its ids in large images. The organisers' script casts them to the dtype of the
  truth, where ids above 65,535 can wrap.
- Means are taken over exact F1 values; the organisers' script first rounds them to 4 decimals.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from training.errors import InputError

BORDER = 2  # pixels from the edge within which an instance is taken for cut
WHOLE_BELOW = 25_000_000  # pixels from which an image is scored in blocks
BLOCK = 2000  # side of such a block, pixels
_LARGEST_ID = 2**32 - 1


@dataclass(frozen=True)
class Score:
    """Instances counted in one image at one IoU threshold, after border removal."""

    true: int
    predicted: int
    tp: int

    @property
    def fp(self) -> int:
        return self.predicted - self.tp

    @property
    def fn(self) -> int:
        return self.true - self.tp

    @property
    def precision(self) -> float:
        return self.tp / self.predicted if self.tp else 0.0

    @property
    def recall(self) -> float:
        return self.tp / self.true if self.tp else 0.0

    @property
    def f1(self) -> float:
        return 2 * self.tp / (self.true + self.predicted) if self.tp else 0.0


class _Overlaps(NamedTuple):
    """Instances of a block, border ones removed, and the P pairs of them that share pixels.

    true_ids, predicted_ids: sorted.
    row, column: (P,) indices into these.
    iou: (P,) of each pair.
    """

    true_ids: NDArray[np.integer]
    predicted_ids: NDArray[np.integer]
    row: NDArray[np.intp]
    column: NDArray[np.intp]
    iou: NDArray[np.float64]


def score_image(
    true: NDArray[np.integer],
    predicted: NDArray[np.integer],
    thresholds: Sequence[float] = (0.5,),
    whole_below: int = WHOLE_BELOW,
    block: int = BLOCK,
) -> list[Score]:
    """Count and match the instances of one image.

    Args:
        true: (H, W) integers, 0 = background, 1 to 2**32 - 1 = instances; the ids may have
            gaps and an instance several parts.
        predicted: the same, of the same shape.
        thresholds: IoU in (0, 1] that a pair must reach.
        whole_below: number of pixels from which the image is scored in blocks.
        block: side of such a block, pixels.

    Returns:
        One score for each threshold.
    """
    parts = blocks(true, predicted, whole_below, block)
    counts = sum(_count_instances(*part, thresholds) for part in parts)
    return [Score(*row) for row in np.asarray(counts).tolist()]


def match_instances(
    true: NDArray[np.integer], predicted: NDArray[np.integer], threshold: float
) -> NDArray[np.int64]:
    """The true positives of ``score_image`` in one of ``blocks``.

    Returns:
        (N, 2): true id and predicted id of each pair, by true id.
    """
    overlaps = _find_overlaps(true, predicted)
    matched = _match(overlaps, threshold)
    found = matched >= 0
    pairs = overlaps.true_ids[found], overlaps.predicted_ids[matched[found]]
    return np.stack(pairs, axis=1).astype(np.int64)


def blocks(
    true: NDArray[np.integer], predicted: NDArray[np.integer], whole_below: int, block: int
) -> Iterable[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """What of truth and prediction is matched by itself: all, or blocks as of ``score_image``.

    Raises:
        ValueError: the shapes differ.
    """
    if true.shape != predicted.shape:
        raise ValueError(f"shapes {true.shape} and {predicted.shape} differ; they must be equal")
    return [(true, predicted)] if true.size < whole_below else _cut_blocks(true, predicted, block)


def remove_border_instances(labels: NDArray[np.integer]) -> NDArray[np.integer]:
    """A copy of an (H, W) label image without the instances that touch its outer two pixels."""
    border = np.ones(labels.shape, np.bool_)
    border[BORDER:-BORDER, BORDER:-BORDER] = False
    return np.where(np.isin(labels, np.unique(labels[border])), 0, labels)


def read_labels(path: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint32]:
    """Read a label image, (H, W) uint32, 0 = background.

    Raises:
        InputError: the file is missing, broken, not one page of ids, or not of the wanted shape.
    """
    try:
        labels = np.asarray(tifffile.imread(path))
    # Broken files make tifffile and its codecs raise nearly any exception.
    except Exception as error:
        raise InputError(
            f"{path}: can't be read ({type(error).__name__}: {error}); write it again as TIFF"
        ) from error
    if labels.ndim != 2 or not labels.size or (shape and labels.shape != shape):
        raise InputError(
            f"{path}: shape {labels.shape}, wanted {shape or '(H, W)'}; write one page, with the "
            "height and width of the image"
        )
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() > _LARGEST_ID:
        raise InputError(
            f"{path}: {labels.dtype} values from {labels.min()} to {labels.max()}, wanted integers "
            f"from 0 to {_LARGEST_ID}; write instance ids as uint16 or uint32"
        )
    return labels.astype(np.uint32, copy=False)


def _count_instances(
    true: NDArray[np.integer], predicted: NDArray[np.integer], thresholds: Sequence[float]
) -> NDArray[np.int64]:
    """True instances, predicted ones and matched pairs of a block: (len(thresholds), 3) int64."""
    overlaps = _find_overlaps(true, predicted)
    counts = np.empty((len(thresholds), 3), np.int64)
    for i, threshold in enumerate(thresholds):
        matched = np.count_nonzero(_match(overlaps, threshold) >= 0)
        counts[i] = len(overlaps.true_ids), len(overlaps.predicted_ids), matched
    return counts


def _find_overlaps(true: NDArray[np.integer], predicted: NDArray[np.integer]) -> _Overlaps:
    true, predicted = remove_border_instances(true), remove_border_instances(predicted)
    true_ids, true_areas = np.unique(true[true > 0], return_counts=True)
    predicted_ids, predicted_areas = np.unique(predicted[predicted > 0], return_counts=True)

    # A pixel of both has the pair of ids as one number, the true id in the upper half.
    both = (true > 0) & (predicted > 0)
    pixels = true[both].astype(np.uint64) << 32 | predicted[both].astype(np.uint64)
    pairs, overlap = np.unique(pixels, return_counts=True)
    row = np.searchsorted(true_ids, pairs >> 32)
    column = np.searchsorted(predicted_ids, pairs & _LARGEST_ID)
    iou = overlap / (true_areas[row] + predicted_areas[column] - overlap)
    return _Overlaps(true_ids, predicted_ids, row, column, iou)


def _match(overlaps: _Overlaps, threshold: float) -> NDArray[np.int32]:
    """For each true instance the index of its predicted one, -1 where it has none."""
    _, _, row, column, iou = overlaps
    reached = iou >= threshold
    graph = csr_array(
        (reached[reached], (row[reached], column[reached])),
        shape=(len(overlaps.true_ids), len(overlaps.predicted_ids)),
    )
    matched: NDArray[np.int32] = maximum_bipartite_matching(graph, perm_type="column")
    return matched


def _cut_blocks(
    true: NDArray[np.integer], predicted: NDArray[np.integer], block: int
) -> Iterator[tuple[NDArray[np.integer], NDArray[np.integer]]]:
    """Both images in blocks of (block, block), row by row, the last ones padded with zeros."""
    height, width = true.shape
    for top in range(0, height, block):
        for left in range(0, width, block):
            window = np.s_[top : top + block, left : left + block]
            padding = [(0, block - length) for length in true[window].shape]
            yield np.pad(true[window], padding), np.pad(predicted[window], padding)
