"""Windows cover every image, and an image in windows has the cells that it has whole."""

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from app.detect import BOX_BYTES, detect
from app.tile import enlarge, pad, scale_factor, window_starts, windows
from tests.make_toy_graphs import METHOD

real = dataclasses.replace(METHOD, window=1536, stride=1280, most_magnification=2.0)
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


def test_enlarge_keeps_an_image_that_needs_none():
    image = np.zeros((3, 4, 3), np.uint8)
    assert enlarge(image, 1.0) is image
    assert enlarge(image, 2.0).shape == (6, 8, 3)


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


def scatter(rng, shape, sides, count):
    """A label image of rectangles that do not touch, with sides from a range."""
    label = np.zeros(shape, int)
    for _ in range(count):
        high, wide = (min(int(s), n) for s, n in zip(rng.integers(*sides, 2), shape, strict=True))
        y, x = (int(rng.integers(0, n - s + 1)) for n, s in zip(shape, (high, wide), strict=True))
        rim = np.s_[max(0, y - 3) : y + high + 3, max(0, x - 3) : x + wide + 3]
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
least_side = 19


@settings(deadline=None, max_examples=150)
@given(
    shape=st.tuples(st.integers(30, 330), st.integers(30, 330)),
    seed=st.integers(0, 9999),
    sides=st.sampled_from([(least_side, 28), (26, 38), (33, 95), (60, 190)]),
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

    one, together = (
        detect(paint(label), run, dataclasses.replace(small, window_batch=size)) for size in (1, 4)
    )
    for single, batched in zip(one, together, strict=True):
        np.testing.assert_array_equal(single, batched)
    assert len(one[0]) > 30 and max(sizes) == min(fits, 4)
    assert ("going on with 1 windows" in caplog.text) == (fits == 1)
