"""Windows cover every image, and an image in windows has the cells that it has whole."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from app.detect import BOX_BYTES, detect
from app.predict import outline
from app.tile import Magnified, magnify, pad, scale_factor, window_starts, windows
from tests.app.make_toy_graphs import METHOD

real = dataclasses.replace(METHOD, window=1536, stride=1280, max_magnification=2.0)
small = dataclasses.replace(METHOD, window=96, stride=64, nms_iou=0.65)
SIDES = (1, 1535, 1536, 1537, 2817)


@pytest.mark.parametrize("shape", list(itertools.product(SIDES, SIDES)))
def test_windows_cover_the_image_and_stay_inside(shape):
    covered = np.zeros(shape, bool)
    for x0, y0, x1, y1 in windows(shape, real):
        assert 0 <= x0 < x1 <= shape[1] and 0 <= y0 < y1 <= shape[0]
        # None is cut short: each is as large as the window or the image allows.
        for start, stop, length in ((y0, y1, shape[0]), (x0, x1, shape[1])):
            assert start % 32 == 0
            if stop == length:
                assert min(length, 1536) <= stop - start < 1536 + 32
            else:
                assert stop - start == 1536
        covered[y0:y1, x0:x1] = True
    assert covered.all()


@given(
    length=st.integers(1, 10_000),
    window=st.integers(2, 600),
    overlap=st.integers(1, 599),
    granularity=st.sampled_from([1, 4, 32]),
)
def test_windows_are_a_stride_apart_and_no_more_than_needed(length, window, overlap, granularity):
    stride = max(1, (window - overlap) // granularity) * granularity
    starts = window_starts(length, window, stride, granularity)
    steps = np.diff(starts)
    assert starts[0] == 0
    assert 0 <= max(0, length - window) - starts[-1] < granularity
    assert (steps[:-1] == stride).all() and (steps > 0).all() and (steps <= stride).all()


def test_known_windows():
    assert window_starts(1536, 1536, 1280, 32) == window_starts(1567, 1536, 1280, 32) == [0]
    assert window_starts(1568, 1536, 1280, 32) == [0, 32]
    assert window_starts(2817, 1536, 1280, 32) == [0, 1280]
    assert window_starts(2850, 1536, 1280, 32) == [0, 1280, 1312]


def test_scale_enlarges_to_a_window_within_its_limit():
    assert scale_factor((300, 200), real) == 2.0
    assert scale_factor((1024, 512), real) == 1.5
    assert scale_factor((1536, 10), real) == scale_factor((4000, 10), real) == 1.0


@pytest.mark.parametrize("shape", [(1, 1), (31, 33), (64, 32), (95, 160)])
def test_padding_fills_up_to_the_granularity(shape):
    image = np.full((*shape, 3), 7, np.uint8)
    padded = pad(image, real)
    assert all(side % real.granularity == 0 for side in padded.shape[:2])
    assert all(0 <= p - s < real.granularity for p, s in zip(padded.shape, shape, strict=False))
    np.testing.assert_array_equal(padded[: shape[0], : shape[1]], image)
    assert (padded[shape[0] :] == real.pad_value).all()
    assert (padded[:, shape[1] :] == real.pad_value).all()


def test_magnify_keeps_an_image_that_needs_none():
    image = np.zeros((3, 4, 3), np.uint8)
    assert magnify(image, 1.0) is image
    assert magnify(image, 2.0).shape == (6, 8, 3)
    assert magnify(image, 0.5).shape == (2, 2, 3)
    assert magnify(image, 0.01).shape == (1, 1, 3)


def test_what_shrinks_is_averaged():
    fine = np.indices((64, 96)).sum(0) % 2 * 200
    image = np.repeat(fine[:, :, None], 3, 2).astype(np.uint8)
    assert (magnify(image, 0.5) == 100).all()
    assert (Magnified(image, 0.5, 32)[0:32, 0:48] == 100).all()


factors = st.sampled_from([0.35, 0.5, 0.7, 0.98, 1.28, 1.4, 1.96, 2.8]) | st.floats(0.35, 2.8)


@settings(deadline=None, max_examples=60)
@given(
    shape=st.tuples(st.integers(1, 200), st.integers(1, 200)),
    factor=factors,
    seed=st.integers(0, 9999),
)
def test_any_part_of_what_is_magnified_is_as_in_the_whole(shape, factor, seed):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    magnified = Magnified(image, factor, 32)
    height, width = magnified.shape[:2]
    whole = magnified[0:height, 0:width]
    assert whole.shape == magnified.shape == (height, width, 3) and whole.dtype == np.uint8
    for _ in range(8):
        y0, x0 = (int(rng.integers(0, -(-side // 32))) * 32 for side in (height, width))
        y1, x1 = int(rng.integers(y0 + 1, height + 1)), int(rng.integers(x0 + 1, width + 1))
        part = magnified[y0:y1, x0:x1]
        assert part.flags.c_contiguous
        np.testing.assert_array_equal(part, whole[y0:y1, x0:x1])


@settings(deadline=None, max_examples=60)
@given(shape=st.tuples(st.integers(20, 3000), st.integers(20, 3000)), factor=factors)
def test_a_magnified_image_has_the_size_that_was_asked_for(shape, factor):
    # To what makes whole numbers of pixels of sides of 32: by 1.6 % at most where it shrinks.
    magnified = Magnified(np.zeros((*shape, 3), np.uint8), factor, 32)
    assert abs(np.log(magnified.factor / factor)) < 0.5 * factor / 32 * 1.05
    for side, magnified_side in zip(shape, magnified.shape, strict=False):
        assert 0 <= side * magnified.factor - magnified_side < 1


@pytest.mark.parametrize("factor", [0.35, 0.5, 0.7, 1.4, 2.0, 2.8])
def test_what_is_magnified_lies_where_it_should(factor):
    # A smooth picture, whose values tell the place.
    y, x = np.mgrid[:300, :430]
    image = np.stack((x / 430 * 255, y / 300 * 255, (x + y) / 730 * 255), 2).astype(np.uint8)
    magnified = Magnified(image, factor, 32)
    height, width = magnified.shape[:2]
    found = magnified[64:height, 32:width].astype(float)
    rows, columns = (np.arange(s, n) for s, n in ((64, height), (32, width)))
    x, y = ((places + 0.5) / magnified.factor - 0.5 for places in (columns, rows))
    assert np.abs(found[:, :, 0] - (x / 430 * 255)[None]).max() < 2
    assert np.abs(found[:, :, 1] - (y / 300 * 255)[:, None]).max() < 2
    # As resized as a whole, but for the rounded factor.
    plain = magnify(image, magnified.factor)[64:height, 32:width].astype(float)
    assert np.abs(plain - found).max() <= 3


# ------------------------------------------------------------- detection with a perfect detector


def paint(label: np.ndarray) -> np.ndarray:
    """A label image as an RGB image that ``see`` can read; cells are known by their blue."""
    high, low = np.divmod(label, 256)
    return np.stack((low, high, np.where(label, 255, 0)), 2).astype(np.uint8)


def see(batch: np.ndarray) -> list[np.ndarray]:
    """A perfect detector: the tight box of whatever it sees of each cell, from pixels alone."""
    image = batch[0].astype(int)
    label = np.where(image[:, :, 2] == 255, image[:, :, 0] + 256 * image[:, :, 1], 0)
    found = [(i, s) for i, s in enumerate(ndimage.find_objects(label), 1) if s]
    boxes = [(x.start, y.start, x.stop, y.stop) for _, (y, x) in found]
    scores = [0.6 + 0.3 / (1 + i) for i, _ in found]
    return [
        np.array(boxes, np.float32).reshape(1, -1, 4),
        np.array(scores, np.float32).reshape(1, -1),
    ]


def see_each(batch: np.ndarray) -> list[np.ndarray]:
    """``see`` in each image of a batch, with boxes of no score to make their numbers equal."""
    seen = [see(image[None]) for image in batch]
    most = max(scores.shape[1] for _, scores in seen)
    boxes = [np.pad(b[0], ((0, most - b.shape[1]), (0, 0))) for b, _ in seen]
    return [np.stack(boxes), np.stack([np.pad(s[0], (0, most - s.shape[1])) for _, s in seen])]


def rough(seed: int, copies: int):
    """As a real detector: each box several times, each up to a pixel off, and off differently."""
    rng = np.random.default_rng(seed)

    def see_roughly(batch: np.ndarray) -> list[np.ndarray]:
        boxes, scores = see(batch)
        noise = rng.uniform(-1, 1, (copies, *boxes.shape[1:])).astype(np.float32)
        return [
            (boxes + noise).reshape(1, -1, 4),
            np.concatenate([scores - 0.01 * k for k in range(copies)], 1),
        ]

    return see_roughly


def scatter(rng, shape, sides, count, gap=3):
    """A label image of rectangles that do not touch, with sides from a range."""
    label = np.zeros(shape, int)
    for _ in range(count):
        high, wide = (min(int(s), n) for s, n in zip(rng.integers(*sides, 2), shape, strict=True))
        y, x = (int(rng.integers(0, n - s + 1)) for n, s in zip(shape, (high, wide), strict=True))
        rim = np.s_[max(0, y - gap) : y + high + gap, max(0, x - gap) : x + wide + gap]
        if not label[rim].any():
            label[y : y + high, x : x + wide] = label.max() + 1
    return label


def pave(rng, shape, sides):
    """A label image of rectangles that fill it and touch, with sides from a range."""
    rows, columns = (
        np.searchsorted(np.cumsum(rng.integers(*sides, side)), np.arange(side), side="right")
        for side in shape
    )
    return rows[:, None] * (columns.max() + 1) + columns[None] + 1


def true_boxes(label: np.ndarray) -> np.ndarray:
    return np.array(
        [(x.start, y.start, x.stop, y.stop) for y, x in ndimage.find_objects(label)], np.float32
    ).reshape(-1, 4)


def by_place(boxes: np.ndarray) -> np.ndarray:
    return boxes[np.lexsort(boxes.T)]


shapes = st.tuples(st.integers(1, 330), st.integers(1, 330))


@settings(deadline=None, max_examples=120)
@given(shape=shapes, seed=st.integers(0, 9999))
def test_tiled_equals_untiled_for_cells_within_the_overlap(shape, seed):
    label = scatter(np.random.default_rng(seed), shape, (2, 28), 40)
    boxes, scores = detect(paint(label), see, small)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))
    assert (np.diff(scores) <= 0).all()


@settings(deadline=None, max_examples=120)
@given(shape=shapes, seed=st.integers(0, 9999))
def test_cells_larger_than_the_overlap_are_joined(shape, seed):
    # Up to twice a window: seen whole by none.
    label = scatter(np.random.default_rng(seed), shape, (33, 190), 12)
    boxes, _ = detect(paint(label), see, small)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


@settings(deadline=None, max_examples=60)
@given(
    shape=shapes,
    seed=st.integers(0, 9999),
    sides=st.sampled_from([(4, 20), (24, 38), (30, 190), (1, 330)]),
)
def test_cells_that_touch_stay_apart(shape, seed, sides):
    label = pave(np.random.default_rng(seed), shape, sides)
    boxes, _ = detect(paint(label), see, small)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


# Of smaller cells two views, each a pixel off, may overlap by less than NMS asks for: from a side
# s on, (s - 2)^2 / (s + 2)^2 is above 0.65.
min_side = 19


@settings(deadline=None, max_examples=150)
@given(
    shape=st.tuples(st.integers(30, 330), st.integers(30, 330)),
    seed=st.integers(0, 9999),
    sides=st.sampled_from([(min_side, 28), (26, 38), (33, 95), (60, 190)]),
    copies=st.integers(1, 3),
)
def test_a_detector_that_is_a_little_off_finds_each_cell_once(shape, seed, sides, copies):
    label = scatter(np.random.default_rng(seed), shape, sides, 30)
    wanted = by_place(true_boxes(label))
    boxes, _ = detect(paint(label), rough(seed, copies), small)
    assert len(boxes) == len(wanted)
    if len(wanted):
        nearest = np.abs(boxes[:, None] - wanted[None]).max(2)
        assert sorted(nearest.argmin(1)) == list(range(len(wanted)))
        assert nearest.min(1).max() <= 1.5


def test_a_cell_where_four_windows_meet():
    label = np.zeros((160, 160), int)
    label[70:90, 66:94] = 1  # inside the overlap, 64 to 96, of all four
    boxes, _ = detect(paint(label), see, small)
    np.testing.assert_array_equal(boxes, [[66, 70, 94, 90]])


def test_a_large_cell_where_four_windows_meet():
    label = np.zeros((160, 160), int)
    label[30:130, 40:140] = 1
    boxes, _ = detect(paint(label), see, small)
    np.testing.assert_array_equal(boxes, [[40, 30, 140, 130]])


def test_two_windows_do_not_leave_a_cell_to_each_other():
    # As wide as the overlap less both margins: a pixel decides which windows see it whole.
    label = np.zeros((60, 160), int)
    label[10:50, 66:94] = 1
    for seed in range(100):
        boxes, _ = detect(paint(label), rough(seed, 1), small)
        assert len(boxes) == 1, seed


def test_a_sliver_beyond_a_window_edge_is_no_cell():
    # The second window, from x = 64, sees one column of a cell that no window sees whole.
    label = np.zeros((160, 160), int)
    label[10:140, 20:65] = 1
    for seed in range(20):
        boxes, _ = detect(paint(label), rough(seed, 3), small)
        np.testing.assert_allclose(boxes, [[20, 10, 65, 140]], atol=1.01)


def test_two_large_neighbours_stay_two():
    label = np.zeros((90, 160), int)
    label[5:40, 40:140] = 1
    label[43:80, 40:150] = 2
    label[30:43, 143:150] = 2  # reaches up beside the first, so that their boxes overlap
    boxes, _ = detect(paint(label), see, small)
    np.testing.assert_array_equal(
        boxes[boxes[:, 1].argsort()], [[40, 5, 140, 40], [40, 30, 150, 80]]
    )


@pytest.mark.parametrize("shape", [(1537, 2817), (2817, 300), (1, 1537)])
def test_tiled_equals_untiled_at_the_real_size(shape):
    label = scatter(np.random.default_rng(0), shape, (8, 250), 60)
    boxes, _ = detect(paint(label), see, real)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


def test_boxes_return_to_the_frame_of_the_image():
    # Enlarged twice, found there, and sized back.
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 30:50] = 255

    def bright(batch):
        y, x = np.nonzero(batch[0, :, :, 0] > 127)
        inside = (y < 80) & (x < 120)  # not the padding
        y, x = y[inside], x[inside]
        box = [[x.min(), y.min(), x.max() + 1, y.max() + 1]]
        return [np.array([box], np.float32), np.array([[0.9]], np.float32)]

    boxes, _ = detect(image, bright, dataclasses.replace(real, pad_value=0))
    np.testing.assert_allclose(boxes, [[30, 10, 50, 20]], atol=0.51)


def bright_squares(batch: np.ndarray) -> list[np.ndarray]:
    """A detector of bright rectangles on black: their boxes to a tenth of a pixel, by the light
    that pixels at their edges have lost."""
    seen = []
    for image in batch:
        light = image[:, :, 0] / 255
        label, _ = ndimage.label(light > 0.25)
        boxes = []
        for number, (rows, columns) in enumerate(ndimage.find_objects(label), 1):
            part = np.where(label == number, light, 0)[rows, columns]
            (y, high), (x, wide) = (
                (start + (1 - line[0] if len(line) > 1 else 0), line.sum())
                for start, line in ((rows.start, part.max(1)), (columns.start, part.max(0)))
            )
            boxes.append((x, y, x + wide, y + high))
        seen.append(np.array(boxes, np.float32).reshape(-1, 4))
    most = max(map(len, seen))
    return [
        np.stack([np.pad(boxes, ((0, most - len(boxes)), (0, 0))) for boxes in seen]),
        np.stack([np.arange(most) < len(boxes) for boxes in seen]).astype(np.float32) * 0.9,
    ]


def squares(label: np.ndarray) -> np.ndarray:
    """A label image as ``bright_squares`` can read it."""
    return np.repeat(np.where(label, 255, 0)[:, :, None], 3, 2).astype(np.uint8)


@pytest.mark.parametrize("magnification", [0.35, 0.5, 0.7, 0.98, 1.4, 1.96, 2.8])
@pytest.mark.parametrize("shape", [(50, 80), (300, 500), (1100, 1250)])
def test_boxes_are_in_pixels_of_the_image_at_any_magnification(shape, magnification):
    # In a single window, and in several, of which the last may be larger.
    method = dataclasses.replace(real, window=512, stride=384, pad_value=0)
    label = scatter(np.random.default_rng(3), shape, (14, 40), 90, gap=8)
    boxes, _ = detect(squares(label), bright_squares, method, magnification=magnification)
    wanted = by_place(true_boxes(label))
    assert len(boxes) == len(wanted)
    # To a pixel and a half of those that the detector sees, and no worse far from the origin.
    off = np.abs(boxes[:, None] - wanted[None]).max(2)
    assert off.min(1).max() < 0.75 + 0.75 / magnification
    assert sorted(off.argmin(1)) == list(range(len(wanted)))
    assert (boxes >= 0).all() and (boxes <= [shape[1], shape[0]] * 2).all()


@pytest.mark.parametrize("magnification", [0.5, 1.4])
@pytest.mark.parametrize("sides", [(16, 56), (60, 200)])
def test_windows_leave_no_trace_at_any_magnification(sides, magnification):
    # Smaller than the overlap, and larger, so that they are joined of parts.
    label = scatter(np.random.default_rng(4), (900, 1000), sides, 200, gap=8)
    image = squares(label)
    parts = dataclasses.replace(real, window=256, stride=128, pad_value=0)
    once = dataclasses.replace(real, window=4096, stride=2048, pad_value=0)
    magnified = Magnified(image, magnification, 32)
    height, width = magnified.shape[:2]
    whole = magnified[0:height, 0:width]
    assert len(windows((height, width), parts)) > 8
    found = [
        detect(image, bright_squares, parts, magnification=magnification)[0],
        detect(whole, bright_squares, once, magnification=1.0)[0] / np.float32(magnified.factor),
    ]
    in_parts, at_once = (boxes[np.lexsort(boxes.round(1).T)] for boxes in found)
    assert len(in_parts) == len(at_once) == label.max()
    np.testing.assert_allclose(in_parts, at_once, atol=0.05)
    labels = [outline(image, boxes, bright, METHOD)[:, :] for boxes in (in_parts, at_once)]
    assert labels[0].max() == label.max()
    np.testing.assert_array_equal(*labels)


def bright(crops: np.ndarray) -> list[np.ndarray]:
    """A segmenter: what is bright is the cell."""
    return [(crops.mean(3) / 255).astype(np.float32)]


def test_no_cell_and_low_scores_give_no_box():
    def doubtful(batch):
        box = np.array([[[1, 1, 9, 9]]], np.float32)
        return [box, np.array([[small.score_threshold]], np.float32)]

    for run in (see, doubtful):
        boxes, scores = detect(np.zeros((200, 90, 3), np.uint8), run, small)
        assert boxes.shape == (0, 4) and scores.shape == (0,)


def test_more_boxes_than_memory_allows_are_refused_with_their_number():
    image = np.zeros((40, 300, 3), np.uint8)

    def run(batch):
        boxes = np.tile(np.array([4, 4, 20, 20], np.float32), (1, 10, 1))
        return [boxes, np.full((1, 10), 0.9, np.float32)]

    assert len(detect(image, run, small, 40 * BOX_BYTES)[0]) == 4
    with pytest.raises(MemoryError, match=r"40 boxes in 4 of 4 windows need 12 kB, but 11\.7 kB"):
        detect(image, run, small, 39 * BOX_BYTES)


@pytest.mark.parametrize("fits", [9, 1])  # windows that the memory of a GPU takes
def test_batches_of_windows_find_what_single_ones_do(fits, caplog):
    label = scatter(np.random.default_rng(8), (330, 288), (8, 60), 150)
    sizes = []

    def run(batch):
        if len(batch) > fits:
            raise MemoryError
        sizes.append(len(batch))
        return see_each(batch)

    one, together = (detect(paint(label), run, small, batch=size) for size in (1, 4))
    for single, batched in zip(one, together, strict=True):
        np.testing.assert_array_equal(single, batched)
    assert len(one[0]) > 30 and max(sizes) == min(fits, 4)
    assert ("going on with batches of 1" in caplog.text) == (fits == 1)
