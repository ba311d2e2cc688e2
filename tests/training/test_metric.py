"""The metric against closed forms and its slow twin."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tests.training.slow_metric import canvas, slow_counts
from training.metric import (
    BLOCK,
    Score,
    read_labels,
    remove_border_instances,
    score_image,
)

Labels = NDArray[np.integer]


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> Labels:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).astype(np.uint16)


def random_labels(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Labels:
    """Boxes that overlap one another, so that some are cut or in parts, with gaps in the ids."""
    labels = np.zeros(shape, np.uint32)
    ids = rng.choice(10 * cells + 1, cells, replace=False) + 1
    for i in ids:
        top, left = rng.integers(0, shape)
        height, width = rng.integers(2, 11, 2)
        labels[top : top + height, left : left + width] = i
    return labels


def perturbed(rng: np.random.Generator, labels: Labels) -> Labels:
    """The same cells under other ids, each moved by up to two pixels, some lost."""
    out = np.zeros_like(labels)
    for i in rng.permutation(np.unique(labels[labels > 0])):
        y, x = np.nonzero(labels == i)
        dy, dx = rng.integers(-2, 3, 2)
        if rng.random() < 0.9:
            inside = (y + dy >= 0) & (y + dy < labels.shape[0])
            inside &= (x + dx >= 0) & (x + dx < labels.shape[1])
            out[y[inside] + dy, x[inside] + dx] = i + 1000
    return out


# --- the counts of one image --------------------------------------------------------------------


@pytest.mark.parametrize("shift", range(1, 12))
def test_shifted_square_matches_up_to_its_closed_form_iou(shift: int) -> None:
    side = 12
    iou = (side - shift) / (side + shift)
    true, predicted = canvas((20, 20, side, side)), canvas((20, 20 + shift, side, side))
    at, above = score_image(true, predicted, [iou, math.nextafter(iou, 1)])
    assert (at.tp, at.fp, at.fn) == (1, 0, 0)
    assert (above.tp, above.fp, above.fn) == (0, 1, 1)


@pytest.mark.parametrize("distance", [10, 30, 60])
def test_shifted_disc_matches_its_closed_form_iou(distance: int) -> None:
    radius, shape = 60, (200, 260)
    lens = 2 * radius**2 * math.acos(distance / (2 * radius))
    lens -= distance / 2 * math.sqrt(4 * radius**2 - distance**2)
    iou = lens / (2 * math.pi * radius**2 - lens)
    true, predicted = disc(shape, 100, 90, radius), disc(shape, 100, 90 + distance, radius)
    below, above = score_image(true, predicted, [iou - 0.01, iou + 0.01])
    assert (below.tp, above.tp) == (1, 0)


@pytest.mark.parametrize("seed", range(40))
def test_equals_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 50)), int(rng.integers(5, 70)))
    true = random_labels(rng, shape, int(rng.integers(0, 40)))
    predicted = perturbed(rng, true)
    thresholds = [0.2, 0.5, 0.55, 0.75, 1.0]
    block = int(rng.integers(6, 30))
    for whole_below in (0, shape[0] * shape[1], shape[0] * shape[1] + 1):
        scores = score_image(true, predicted, thresholds, whole_below, block)
        for threshold, score in zip(thresholds, scores, strict=True):
            wanted = slow_counts(true, predicted, threshold, whole_below, block)
            assert (score.true, score.predicted, score.tp) == wanted, (threshold, whole_below)


@pytest.mark.parametrize("seed", range(20))
def test_equals_slow_twin_where_many_pairs_tie(seed: int) -> None:
    """Single-row cells of length 2 to 4, shifted: IoU is often 1/3, 1/2 or 1 exactly."""
    rng = np.random.default_rng(seed)
    true, predicted = (
        np.repeat(np.arange(1, 201), rng.integers(2, 5, 200))[:400].reshape(10, 40)
        for _ in range(2)
    )
    for threshold in (1 / 3, 0.5):
        (score,) = score_image(true, predicted, [threshold])
        wanted = slow_counts(true, predicted, threshold, 10**9, 1)
        assert (score.true, score.predicted, score.tp) == wanted


def test_two_halves_tie_at_half_and_count_once() -> None:
    whole = canvas((20, 20, 10, 10))
    halves = canvas((20, 20, 10, 5), (20, 25, 10, 5))
    assert score_image(whole, halves) == [Score(true=1, predicted=2, tp=1)]
    assert score_image(halves, whole) == [Score(true=2, predicted=1, tp=1)]
    assert score_image(whole, halves, [math.nextafter(0.5, 1)])[0].tp == 0


def test_matching_is_the_largest_not_the_greediest() -> None:
    """The best pair taken first (true 2 with predicted 1) would leave both others alone."""
    true = canvas((20, 20, 10, 6), (20, 26, 10, 10))
    predicted = canvas((20, 22, 10, 11), (20, 33, 10, 6))
    iou = {(1, 1): 4 / 13, (2, 1): 7 / 14, (2, 2): 3 / 13}
    assert score_image(true, predicted, [min(iou.values())]) == [Score(2, 2, 2)]


def test_border_is_two_pixels_wide_on_every_side() -> None:
    height, width = 40, 50
    touching = [(1, 10, 5, 5), (10, 1, 5, 5), (height - 6, 10, 5, 5), (10, width - 6, 5, 5)]
    clear = [(2, 20, 5, 5), (20, 2, 5, 5), (height - 7, 20, 5, 5), (20, width - 7, 5, 5)]
    labels = canvas(*touching, *clear, shape=(height, width))
    before = labels.copy()
    left = remove_border_instances(labels)
    assert set(np.unique(left)) == {0, 5, 6, 7, 8}
    assert left.dtype == labels.dtype
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(left[left > 0], labels[left > 0])


def test_border_is_removed_from_each_side_separately() -> None:
    cut, whole = canvas((1, 20, 10, 10)), canvas((2, 20, 10, 10))
    assert score_image(cut, whole) == [Score(true=0, predicted=1, tp=0)]
    assert score_image(whole, cut) == [Score(true=1, predicted=0, tp=0)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 60), (4, 4)])
def test_image_that_is_all_border_has_no_instances(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.uint16)
    assert score_image(labels, labels) == [Score(0, 0, 0)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64])
def test_ids_and_their_type_do_not_matter(dtype: type[np.integer]) -> None:
    boxes = [(5, 5, 8, 8), (20, 30, 9, 7), (40, 60, 6, 6)]
    true = canvas(*boxes)
    ids = np.array([0, 7, np.iinfo(dtype).max % 2**32, 100], dtype)
    predicted = ids[canvas(*boxes)]
    assert score_image(true, predicted, [1.0]) == [Score(3, 3, 3)]
    assert score_image(predicted, true, [1.0]) == [Score(3, 3, 3)]


def test_empty_prediction_counts_every_miss() -> None:
    true = canvas((5, 5, 8, 8), (20, 30, 9, 7))
    (score,) = score_image(true, np.zeros_like(true))
    assert (score.fn, score.fp, score.f1, score.precision, score.recall) == (2, 0, 0, 0, 0)


def test_nothing_to_find_and_nothing_found_is_zero() -> None:
    (score,) = score_image(canvas(), canvas())
    assert (score, score.f1) == (Score(0, 0, 0), 0.0)


def test_ratios() -> None:
    score = Score(true=10, predicted=5, tp=4)
    assert (score.precision, score.recall, score.fp, score.fn) == (0.8, 0.4, 1, 6)
    assert score.f1 == pytest.approx(2 * 0.8 * 0.4 / (0.8 + 0.4))


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"\(60, 80\) and \(80, 60\) differ"):
        score_image(canvas(), canvas().T)


def test_image_of_25_million_pixels_is_scored_in_blocks() -> None:
    shape = (5001, 5000)
    inside, across = (100, 100, 20, 20), (300, BLOCK - 10, 20, 20)
    at_inner_edge, at_outer_edge = (500, BLOCK + 1, 20, 20), (4900, 4978, 20, 22)
    labels = canvas(inside, across, at_inner_edge, at_outer_edge, shape=shape)
    # The last block is padded, so the image's own right edge is no border there.
    assert score_image(labels, labels) == [Score(2, 2, 2)]
    # Below 25 million pixels the same cells lose only the one at the edge.
    assert score_image(labels[:4999], labels[:4999]) == [Score(3, 3, 3)]
    # An empty block still has its misses.
    assert score_image(labels, np.where(labels == 4, 0, labels)) == [Score(2, 1, 1)]


# --- files and the command line -----------------------------------------------------------------


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 70_000], [2**32 - 1, 5, 0]], np.uint32)
    tifffile.imwrite(tmp_path / "a.tiff", labels, compression="zlib")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tiff"), labels)
