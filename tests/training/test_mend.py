"""Label images with known faults, and what becomes of them; then random ones."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from training.prepare.mend import HOLE_PIXELS, MIN_PIXELS, SPECK_PIXELS, SPECK_SHARE, mend

NEIGHBOURS = np.ones((3, 3), bool)


def squares(*boxes: tuple[int, int, int, int, int], side: int = 40) -> np.ndarray:
    """(S, S) int64 with boxes of (id, y0, x0, y1, x1)."""
    label = np.zeros((side, side), np.int64)
    for number, y0, x0, y1, x1 in boxes:
        label[y0:y1, x0:x1] = number
    return label


SOUND = squares((1, 2, 2, 12, 12), (2, 0, 20, 5, 30), (3, 12, 2, 20, 12))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint64, np.float32])
def test_a_sound_label_image_stays_as_it_is(dtype):
    mended, notes = mend(SOUND.astype(dtype))
    assert mended.dtype == np.uint16
    np.testing.assert_array_equal(mended, SOUND)
    assert notes == []


def test_ids_with_gaps_are_numbered_in_their_order():
    label = squares((70000, 2, 2, 12, 12), (9, 20, 20, 30, 30))
    mended, notes = mend(label)
    np.testing.assert_array_equal(mended, squares((2, 2, 2, 12, 12), (1, 20, 20, 30, 30)))
    assert notes == ["2 ids from 9 to 70000: numbered anew"]


def test_negative_ids_are_cells():
    label = squares((-7, 2, 2, 12, 12), (1, 20, 20, 30, 30))
    mended, notes = mend(label)
    np.testing.assert_array_equal(mended, squares((1, 2, 2, 12, 12), (2, 20, 20, 30, 30)))
    assert notes == ["1 ids are negative, the lowest -7: kept as cells"]


def test_a_mask_without_ids_is_cut_into_its_pieces():
    mended, notes = mend(squares((1, 2, 2, 12, 12), (1, 20, 20, 30, 30)).astype(bool))
    np.testing.assert_array_equal(mended, squares((1, 2, 2, 12, 12), (2, 20, 20, 30, 30)))
    assert notes == [
        "1 ids in several pieces: 0 specks dropped, 1 pieces became cells of their own"
    ]


def test_specks_of_a_cell_are_dropped():
    whole = squares((1, 2, 2, 22, 22))  # 400 pixels: 39 are a speck, 40 are a cell
    speck, piece = squares((1, 30, 2, 33, 15)), squares((1, 30, 2, 34, 12))
    mended, notes = mend(whole + speck)
    np.testing.assert_array_equal(mended, whole)
    assert notes == [
        "1 ids in several pieces: 1 specks dropped, 0 pieces became cells of their own"
    ]
    np.testing.assert_array_equal(mend(whole + piece)[0], whole + 2 * piece)


def test_large_pieces_are_no_specks_however_large_the_rest_is():
    label = squares((1, 0, 0, 60, 60), (1, 70, 70, 78, 78), (1, 90, 70, 97, 79), side=100)
    mended, _ = mend(label)  # 3600 pixels, 64 pixels, 63 pixels
    kept = squares((1, 0, 0, 60, 60), (2, 70, 70, 78, 78), side=100)
    np.testing.assert_array_equal(mended, kept)


def test_pixels_that_touch_at_a_corner_are_one_piece():
    label = squares((1, 2, 2, 7, 7), (1, 7, 7, 12, 12))
    np.testing.assert_array_equal(mend(label)[0], label)


def test_cells_of_few_pixels_are_dropped():
    eight, seven = squares((1, 10, 10, 12, 14)), squares((2, 20, 20, 21, 27))
    mended, notes = mend(eight + seven)
    np.testing.assert_array_equal(mended, eight)
    assert notes == ["1 cells of fewer than 8 pixels dropped"]


@pytest.mark.parametrize("turns", range(4))
def test_slivers_at_the_border_are_dropped(turns):
    one_deep = squares((1, 0, 5, 1, 30))
    two_deep = squares((1, 0, 5, 2, 30))
    mended, notes = mend(np.rot90(one_deep, turns))
    assert not mended.any()
    assert notes == ["1 slivers at the border, 1 pixel deep, dropped", "empty: no cell"]
    np.testing.assert_array_equal(mend(np.rot90(two_deep, turns))[0], np.rot90(two_deep, turns))


def test_small_holes_are_filled():
    ring = squares((1, 2, 2, 22, 22), (0, 5, 5, 12, 14))  # a hole of 63 pixels
    mended, notes = mend(ring)
    np.testing.assert_array_equal(mended, squares((1, 2, 2, 22, 22)))
    assert notes == ["1 holes of fewer than 64 pixels filled"]


@pytest.mark.parametrize(
    "label",
    [
        squares((1, 2, 2, 22, 22), (0, 5, 5, 13, 13)),  # a hole of 64 pixels
        squares((1, 2, 2, 22, 22), (0, 2, 5, 8, 9)),  # a bay
        squares((1, 0, 2, 20, 22), (0, 0, 5, 5, 9)),  # open to the border
        squares((1, 2, 2, 22, 12), (2, 2, 12, 22, 22), (0, 9, 9, 14, 14)),  # between two cells
        squares((1, 2, 2, 22, 22), (0, 5, 5, 12, 12), (2, 7, 7, 10, 10)),  # round a cell
    ],
)
def test_other_background_stays(label):
    mended, notes = mend(label)
    np.testing.assert_array_equal(mended, label)
    assert notes == []


def test_what_lay_in_a_dropped_cell_becomes_part_of_the_one_around_it():
    label = squares((1, 2, 2, 22, 22), (2, 8, 8, 10, 10))
    np.testing.assert_array_equal(mend(label)[0], squares((1, 2, 2, 22, 22)))


@pytest.mark.parametrize("shape", [(5, 7), (1, 1), (1, 30)])
def test_an_empty_label_image_is_kept_and_flagged(shape):
    mended, notes = mend(np.zeros(shape, np.uint8))
    assert mended.shape == shape and not mended.any()
    assert notes == ["empty: no cell"]


def test_channels_that_are_the_same_are_one():
    np.testing.assert_array_equal(mend(np.stack([SOUND] * 3, axis=2))[0], SOUND)


@pytest.mark.parametrize(
    ("label", "found"),
    [
        (np.stack([SOUND, SOUND, 0 * SOUND], axis=2), r"has shape \(40, 40, 3\), and channels"),
        (SOUND[0], r"has shape \(40,\)"),
        (SOUND[:0], r"has shape \(0, 40\)"),
        (SOUND / 2, "has the value 0.5; a label image has one whole number a pixel"),
        (np.where(SOUND, np.nan, 0), "has the value nan"),
        (np.where(SOUND, np.inf, 0), "has the value inf"),
        (SOUND.astype(complex), "is of complex128"),
    ],
)
def test_what_is_no_label_image_is_refused(label, found):
    with pytest.raises(ValueError, match=found):
        mend(label)


def test_more_cells_than_uint16_has_ids():
    cells = np.zeros((257 * 3, 256 * 5), np.int64)
    cells.reshape(257, 3, 256, 5)[:, :2, :, :4] = np.arange(1, 257 * 256 + 1).reshape(
        257, 1, 256, 1
    )
    with pytest.raises(ValueError, match="65792 cells, but ids are uint16"):
        mend(cells)
    mended, notes = mend(cells[: 3 * 255])
    assert mended.max() == 65280 and notes == []


def slow_mend(label: np.ndarray) -> np.ndarray:
    """The rules, a cell and a hole at a time."""
    mended = np.zeros(label.shape, np.uint16)
    for number in sorted(set(label.ravel().tolist()) - {0}):
        pieces, count = ndimage.label(label == number, NEIGHBOURS)
        masks = [pieces == k for k in range(1, count + 1)]
        largest = max(mask.sum() for mask in masks)
        for mask in masks:
            speck = mask.sum() < SPECK_SHARE * largest and mask.sum() < SPECK_PIXELS
            if not speck and mask.sum() >= MIN_PIXELS and not is_sliver(mask):
                mended[mask] = mended.max() + 1
    holes, count = ndimage.label(mended == 0)
    for hole in (holes == k for k in range(1, count + 1)):
        around = ndimage.binary_dilation(hole) & ~hole
        open_side = hole[0].any() or hole[-1].any() or hole[:, 0].any() or hole[:, -1].any()
        if hole.sum() < HOLE_PIXELS and not open_side and len(set(mended[around])) == 1:
            mended[hole] = mended[around][0]
    return mended


def is_sliver(mask: np.ndarray) -> bool:
    for places, side in zip(np.nonzero(mask), mask.shape, strict=True):
        if side > 1 and len(set(places)) == 1 and places[0] in (0, side - 1):
            return True
    return False


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    scale=st.integers(1, 4),
    lowest=st.integers(-3, 1),
    gaps=st.sampled_from([0, 0.02, 0.2]),
)
def test_mends_as_the_slow_twin_does_and_only_once(seed, shape, scale, lowest, gaps):
    rng = np.random.default_rng(seed)
    label = np.kron(rng.integers(lowest, 5, shape), np.ones((scale, scale), np.int64))
    label[rng.random(label.shape) < gaps] = 0
    mended, _ = mend(label)
    np.testing.assert_array_equal(mended, slow_mend(label))
    again, notes = mend(mended)
    np.testing.assert_array_equal(again, mended)
    assert notes in ([], ["empty: no cell"])
