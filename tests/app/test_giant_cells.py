"""Boxes larger than a block: as others are, in memory that doesn't grow with them."""

import tracemalloc

import numpy as np
import pytest

from app import predict as predict_module
from app import segment as segment_module
from app.files.labels import Labels
from app.paste import paste, relabel
from app.predict import draw
from app.segment import LargeMask, crop, crop_large, segment, segment_large, uncrop
from tests.app.make_toy_graphs import METHOD

# (H, W) of boxes: whole and broken factors, sides that shrink, stay and grow.
SHAPES = [(640, 640), (333, 901), (64, 777), (20, 500), (1500, 65), (129, 128), (700, 7), (1, 300)]


def smooth(rng, size=64):
    """A probability like those of the segmenter: it rises and falls over several pixels."""
    coarse = rng.random((9, 9)).astype(np.float32)
    return np.clip(uncrop(coarse, (size, size)) * 1.4 - 0.2, 0, 1)


def bright(crops):
    return [crops[..., 0].astype(np.float32) / 255]


@pytest.mark.parametrize("part", [50, 256, 5000])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_crop_made_of_parts_is_that_of_the_whole(shape, part, monkeypatch):
    monkeypatch.setattr(segment_module, "_PART", part)
    rng = np.random.default_rng(part)
    image = rng.integers(0, 256, (shape[0] + 11, shape[1] + 17, 3), dtype=np.uint8)
    image[:, :, 1] = np.indices(image.shape[:2]).sum(0) % 251
    box = np.array([13, 8, 13 + shape[1], 8 + shape[0]])
    whole, made = crop(image, box, 64).astype(int), crop_large(image, box, 64)
    assert made.shape == (64, 64, 3) and made.dtype == np.uint8
    assert np.abs(made - whole).max() <= 1
    assert (made != whole).mean() < 0.01  # of a grey level, where that is a matter of rounding


@pytest.mark.parametrize("shape", SHAPES)
def test_a_mask_is_the_same_however_it_is_cut(shape):
    rng = np.random.default_rng(0)
    probability = smooth(rng)
    mask = LargeMask(probability, shape, 0.5)
    whole = mask[0 : shape[0], 0 : shape[1]]
    sized = uncrop(probability, shape)
    clear = np.abs(sized - 0.5) > 1e-5
    np.testing.assert_array_equal(whole[clear], (sized > 0.5)[clear])
    assert clear.mean() > 0.99 and 0 < whole.mean() < 1
    for size in (1, 7, 100):
        for y in rng.integers(0, shape[0], 8).tolist():
            for x in rng.integers(0, shape[1], 8).tolist():
                window = slice(y, y + size), slice(x, x + size)
                np.testing.assert_array_equal(mask[window], whole[window])
    assert mask.area() == whole.sum()


def test_what_is_just_the_threshold_is_no_cell():
    for value, cell in ((0.5, False), (0.51, True)):
        mask = LargeMask(np.full((64, 64), value, np.float32), (3000, 10), 0.5)
        assert (mask[0:3000, 0:10] == cell).all()


def test_giants_among_others_are_drawn_as_if_all_were_small(monkeypatch):
    rng = np.random.default_rng(1)
    shape = (310, 420)
    start = rng.integers(0, [390, 280], (60, 2))
    boxes = np.concatenate((start, start + rng.integers(4, 30, (60, 2))), 1)
    giants = np.array([[0, 0, 420, 310], [100, 20, 400, 300], [3, 120, 415, 160]])
    boxes = np.insert(boxes, [30, 45, 60], giants, 0)
    image = np.repeat((smooth(rng, 420)[:310, :, None] * 255).astype(np.uint8), 3, 2)
    labels = []
    for block in (1000, 128, 50):  # of these none, those of the giants' sides, and some more
        monkeypatch.setattr(predict_module, "BLOCK", block)
        canvas = np.zeros(shape, np.uint32)
        areas, whole, _ = draw(image, boxes, bright, METHOD, 4, canvas)
        np.testing.assert_array_equal(areas, np.bincount(canvas.ravel(), minlength=64))
        labels.append((canvas, whole, Labels(canvas, relabel(areas, whole, 1, 0.2))[:, :]))
    for canvas, whole, label in labels[1:]:
        # A grey level of a crop may move an outline by a pixel here and there.
        assert (canvas != labels[0][0]).mean() < 1e-3
        assert (label != labels[0][2]).mean() < 1e-3
        np.testing.assert_allclose(whole, labels[0][1], rtol=1e-2)
    assert len(np.unique(labels[0][2])) > 20 and {31, 47, 63} <= set(np.unique(labels[0][0]))


def test_others_are_what_they_are_without_giants(monkeypatch):
    """Each pixel of theirs, whatever is read with them."""
    rng = np.random.default_rng(2)
    start = rng.integers(0, [360, 260], (40, 2))
    boxes = np.concatenate((start, start + rng.integers(4, 50, (40, 2))), 1)
    image = np.repeat((smooth(rng, 420)[:310, :, None] * 255).astype(np.uint8), 3, 2)
    masks = [mask for mask, _ in segment(image, boxes, bright, METHOD, 4)]
    expected = paste(masks, boxes, np.arange(1, 41), (0, 0, 310, 420))
    monkeypatch.setattr(predict_module, "BLOCK", 64)
    canvas = np.zeros((310, 420), np.uint32)
    worst_last = np.append(boxes, [[0, 0, 420, 310]], 0)
    draw(image, worst_last, bright, METHOD, 4, canvas)
    assert (canvas == 41).any()
    np.testing.assert_array_equal(np.where(canvas == 41, 0, canvas), expected)


class Endless:
    """An image of any size that is in no memory; remembers the largest part that was asked for."""

    dtype = np.dtype(np.uint8)

    def __init__(self, side):
        self.shape, self.largest = (side, side, 3), 0

    def __getitem__(self, window):
        rows, columns = (
            np.arange(part.start, part.stop) * 4 // self.shape[0] % 2 for part in window
        )
        self.largest = max(self.largest, len(rows) * len(columns))
        return np.repeat((rows[:, None] ^ columns).astype(np.uint8)[:, :, None] * 200, 3, 2)


def test_giants_take_the_same_memory_in_an_image_nine_times_as_large(monkeypatch):
    monkeypatch.setattr(predict_module, "BLOCK", 512)
    monkeypatch.setattr(segment_module, "_PART", 256)
    peaks = []
    for side in (1600, 4800):
        image = Endless(side)
        # The last one shares its first block with the giants, which it must not be read with.
        boxes = np.array([[0, 0, side, side], [5, 5, side, side - 9], [10, 20, 60, 70]])
        tracemalloc.start()
        canvas = Painted(side)
        areas, whole, _ = draw(image, boxes, bright, METHOD, 4, canvas)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert areas[1:].sum() == canvas.painted and whole[1] > side**2 / 4
        assert image.largest <= 512**2
    assert peaks[1] < 1.1 * peaks[0]


class Painted:
    """A canvas of which nothing is kept but the number of pixels that are no background."""

    def __init__(self, side):
        self.shape, self.painted = (side, side), 0

    def __setitem__(self, _window, label):
        self.painted += np.count_nonzero(label)


def test_giants_are_segmented_together_as_far_as_memory_goes(caplog):
    image = np.random.default_rng(0).integers(0, 256, (90, 900, 3), dtype=np.uint8)
    boxes = np.array([[n, 0, 800 + n, 90] for n in range(6)])
    sizes = []

    def two_at_most(crops):
        if len(crops) > 2:
            raise MemoryError
        sizes.append(len(crops))
        return bright(crops)

    assert len(list(segment_large(image, boxes, two_at_most, METHOD, 4))) == 6
    assert sizes == [2, 2, 2] and "batches of 2" in caplog.text
