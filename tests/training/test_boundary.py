"""Boundary IoU against closed forms and a slow twin."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.slow_metric import canvas
from training.boundary import boundary_iou, pair_ious, rim_width
from training.metric import match_instances, score_image

Mask = NDArray[np.bool_]
Labels = NDArray[np.integer]


def square(top: int, left: int, side: int, shape: tuple[int, int] = (60, 80)) -> Mask:
    return canvas((top, left, side, side), shape=shape) > 0


def disc(y: float, x: float, radius: float, shape: tuple[int, int] = (60, 80)) -> Mask:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    mask: Mask = (rows - y) ** 2 + (columns - x) ** 2 <= radius**2
    return mask


def slow_rim(mask: Mask, d: int) -> Mask:
    """Pixels of a mask with one that isn't of it, or is outside the image, in the square around."""
    rim = np.zeros_like(mask)
    wide = np.pad(mask, d)
    for y, x in np.argwhere(mask):
        rim[y, x] = not wide[y : y + 2 * d + 1, x : x + 2 * d + 1].all()
    return rim


def slow_iou(a: Mask, b: Mask) -> float:
    return float((a & b).sum() / (a | b).sum())


def slow_pair_ious(true: Labels, predicted: Labels) -> list[tuple[float, float]]:
    """Over whole images, for every two instances of IoU 0.5 or more."""
    found = []
    for i in np.unique(true[true > 0]):
        for j in np.unique(predicted[predicted > 0]):
            a, b = true == i, predicted == j
            if slow_iou(a, b) >= 0.5:
                d = max(1, round(0.1 * 2 * math.sqrt(a.sum() / math.pi)))
                found.append((slow_iou(slow_rim(a, d), slow_rim(b, d)), slow_iou(a, b)))
    return found


def blobs(rng: np.random.Generator, shape: tuple[int, int], inset: int) -> tuple[Labels, Labels]:
    """Discs with holes and bites, that may overlap and be in parts; the same moved a bit, under
    other ids in another order. None within ``inset`` pixels of the edge."""
    true, predicted = np.zeros(shape, np.uint32), np.zeros(shape, np.uint32)
    for i in range(1, 15):
        y, x = rng.uniform(0, shape[0]), rng.uniform(0, shape[1])
        radius = rng.uniform(1, 16)
        dy, dx, grown = rng.uniform(-1, 1, 3) * radius / 8
        true[disc(y, x, radius, shape)] = 100_000 * i
        true[disc(y + radius / 3, x, radius / 5, shape)] = 0
        predicted[disc(y + dy, x + dx, radius + grown, shape)] = 100 - i
    for labels in (true, predicted):
        kept = labels[inset : shape[0] - inset, inset : shape[1] - inset].copy()
        labels[:] = 0
        labels[inset : shape[0] - inset, inset : shape[1] - inset] = kept
    return true, predicted


# --- one pair -----------------------------------------------------------------------------------


@pytest.mark.parametrize("d", [1, 2, 5, 40])
def test_identical_masks_have_1(d: int) -> None:
    mask = disc(30, 40, 20)
    assert boundary_iou(mask, mask.copy(), d) == 1.0


def test_square_shifted_by_a_pixel_has_its_closed_form() -> None:
    """Rims one pixel wide share only the pieces of the two sides along which the square moved."""
    side = 20
    rim = 4 * side - 4
    shared = 2 * (side - 1)
    value = boundary_iou(square(10, 10, side), square(10, 11, side), 1)
    assert value == shared / (2 * rim - shared)


@pytest.mark.parametrize("d", [1, 2, 3, 7])
@pytest.mark.parametrize("shift", [(0, 1), (1, 0), (1, 1), (-1, 1), (3, -2)])
def test_shifted_disc_equals_slow_twin(shift: tuple[int, int], d: int) -> None:
    true, predicted = disc(30, 40, 15), disc(30 + shift[0], 40 + shift[1], 15)
    wanted = slow_iou(slow_rim(true, d), slow_rim(predicted, d))
    assert boundary_iou(true, predicted, d) == wanted
    assert boundary_iou(predicted, true, d) == wanted
    assert wanted < slow_iou(true, predicted)


def test_a_hole_has_a_contour_and_the_inside_does_not_count() -> None:
    whole, hollow = square(10, 10, 30), square(10, 10, 30) & ~square(20, 20, 10)
    rim, ring = 4 * 29, 4 * 11
    assert boundary_iou(whole, hollow, 1) == rim / (rim + ring)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 9), (9, 1), (2, 9), (2, 2)])
def test_thin_instances_are_all_rim(height: int, width: int) -> None:
    true = canvas((10, 10, height, width)) > 0
    predicted = np.roll(true, 1, axis=int(width >= height))
    assert boundary_iou(true, predicted, 1) == slow_iou(true, predicted)


def test_what_lies_outside_the_array_is_no_part_of_a_mask() -> None:
    true, predicted = np.ones((9, 9), np.bool_), np.ones((9, 9), np.bool_)
    predicted[:, 8] = False
    rim, own, shared = 81 - 49, 72 - 42, 32 - 9
    assert boundary_iou(true, predicted, 1) == shared / (rim + own - shared)


@pytest.mark.parametrize(
    ("diameter", "d"), [(1, 1), (14, 1), (16, 2), (24, 2), (26, 3), (100, 10), (1000, 100)]
)
def test_rim_is_a_tenth_of_the_equivalent_diameter(diameter: int, d: int) -> None:
    assert rim_width(round(math.pi / 4 * diameter**2)) == d


# --- the pairs of an image ----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_equals_slow_twin(seed: int) -> None:
    """The twin looks at whole images, so nothing may be lost outside the boxes of the pairs."""
    rng = np.random.default_rng(seed)
    true, predicted = blobs(rng, (int(rng.integers(40, 80)), int(rng.integers(40, 80))), 2)
    wanted = slow_pair_ious(true, predicted)
    assert len(wanted) > 1
    np.testing.assert_array_equal(pair_ious(true, predicted), wanted)


def test_d_is_that_of_the_true_instance() -> None:
    true, predicted = canvas((10, 10, 13, 13)), canvas((10, 10, 14, 18))
    assert (rim_width(13 * 13), rim_width(14 * 18)) == (1, 2)
    ((value, _),) = pair_ious(true, predicted)
    assert value == boundary_iou(true > 0, predicted > 0, 1)
    ((value, _),) = pair_ious(predicted, true)
    assert value == boundary_iou(true > 0, predicted > 0, 2)


def test_a_touching_neighbour_is_background() -> None:
    """The predicted neighbour is missing: the rim where the two touch is there all the same."""
    pair, alone = canvas((10, 10, 20, 20), (10, 30, 20, 20)), canvas((10, 10, 20, 20))
    np.testing.assert_array_equal(pair_ious(pair, alone), [[1.0, 1.0]])


def test_a_pair_at_half_counts_and_one_below_does_not() -> None:
    true, half, less = (canvas((20, 20, 10, width)) for width in (20, 10, 9))
    assert pair_ious(true, half)[:, 1].tolist() == [0.5]
    assert pair_ious(true, less).shape == (0, 2)


def test_instances_at_the_edge_of_the_image_are_left_out() -> None:
    cut, first, middle = (1, 10, 12, 12), (20, 2, 12, 12), (40, 40, 15, 12)
    labels = canvas(cut, first, middle)
    assert pair_ious(labels, labels).tolist() == [[1.0, 1.0]] * 2


def test_nothing_matched_is_no_row() -> None:
    empty, some = canvas(), canvas((10, 10, 12, 12))
    for true, predicted in ((empty, empty), (some, empty), (empty, some)):
        assert pair_ious(true, predicted).shape == (0, 2)


def test_large_images_are_matched_in_blocks() -> None:
    """The last block is padded: the right edge of the image is contour there, and no border."""
    inside, across, at_edge = (5, 5, 10, 10), (5, 25, 10, 10), (40, 70, 10, 10)
    true = canvas(inside, across, at_edge)
    predicted = np.roll(true, 1, axis=0)
    assert len(pair_ious(true, predicted)) == 2
    ious = pair_ious(true, predicted, whole_below=true.size, block=30)
    assert len(ious) == 2
    rim, shared = 36, 2 * 9
    assert ious.tolist() == [[shared / (2 * rim - shared), 90 / 110]] * 2


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64])
def test_ids_and_their_type_do_not_matter(dtype: type[np.integer]) -> None:
    boxes = [(5, 5, 8, 8), (20, 30, 9, 7), (40, 60, 6, 6)]
    true = canvas(*boxes)
    predicted = np.array([0, 7, np.iinfo(dtype).max % 2**32, 3], dtype)[canvas(*boxes)]
    assert pair_ious(true, predicted).tolist() == [[1.0, 1.0]] * 3
    assert pair_ious(predicted, true).tolist() == [[1.0, 1.0]] * 3


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"\(60, 80\) and \(80, 60\) differ"):
        pair_ious(canvas(), canvas().T)


# --- the pairs that the metric matches ----------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_pairs_are_the_true_positives_one_to_one(seed: int) -> None:
    true, predicted = blobs(np.random.default_rng(seed), (70, 70), 0)
    for threshold in (0.2, 0.5, 0.8):
        pairs = match_instances(true, predicted, threshold)
        (score,) = score_image(true, predicted, [threshold])
        assert len(pairs) == score.tp
        assert all(len(set(column)) == score.tp for column in pairs.T.tolist())
        for i, j in pairs.tolist():
            assert slow_iou(true == i, predicted == j) >= threshold


def test_pairs_name_the_true_id_first() -> None:
    true = canvas((10, 10, 12, 12), (30, 10, 12, 12), (30, 40, 12, 12))
    predicted = np.array([0, 0, 2**32 - 1, 5], np.uint32)[true]
    assert match_instances(true, predicted, 0.5).tolist() == [[2, 2**32 - 1], [3, 5]]
