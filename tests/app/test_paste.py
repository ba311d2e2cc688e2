"""Masks to label images: against the slow twin, and there and back again."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import tifffile

from app import predict as predict_module
from app.files import labels as labels_module
from app.files.labels import Labels, open_canvas, write_label
from app.paste import paste, relabel, visits
from app.predict import draw, outline
from app.segment import crop, round_boxes, segment, uncrop
from tests.app.make_toy_graphs import METHOD
from tests.app.slow_twins import slow_paste


def paste_all(masks, boxes, shape, min_area, min_visible=0.0, block=2048) -> Labels:
    """As ``draw`` does, with masks that are there already."""
    canvas = np.zeros(shape, np.uint32)
    for visit in visits(boxes, shape, block):
        y0, x0, y1, x1 = visit.window
        here = [masks[n] for n in visit.members]
        canvas[y0:y1, x0:x1] = paste(here, boxes[visit.members], visit.members + 1, visit.window)
    areas = np.bincount(canvas.ravel(), minlength=len(boxes) + 1)
    whole = np.array([0, *(mask.sum() for mask in masks)])
    return Labels(canvas, relabel(areas, whole, min_area, min_visible))


@pytest.mark.parametrize("block", [1, 5, 8, 100])
@pytest.mark.parametrize("seed", range(8))
def test_equals_the_slow_twin(seed, block):
    rng = np.random.default_rng(seed)
    shape = (23, 31)
    start = rng.integers(0, [25, 17], (9, 2))
    boxes = np.concatenate((start, start + rng.integers(1, 7, (9, 2))), 1)
    masks = [rng.random((y1 - y0, x1 - x0)) < 0.6 for x0, y0, x1, y1 in boxes]
    least = int(rng.integers(0, 9)), float(rng.choice([0.0, 0.5, 0.9]))
    labels = paste_all(masks, boxes, shape, *least, block)
    np.testing.assert_array_equal(labels[:, :], slow_paste(masks, boxes, shape, *least))
    assert labels.dtype == np.uint16 and labels.count == labels[:, :].max()


@pytest.mark.parametrize("block", [3, 10, 64])
def test_each_box_is_new_once_and_done_once(block):
    rng = np.random.default_rng(block)
    start = rng.integers(0, [50, 30], (40, 2))
    boxes = np.concatenate((start, start + rng.integers(1, 11, (40, 2))), 1)
    waiting: set[int] = set()
    seen = []
    for visit in visits(boxes, (40, 60), block):
        y0, x0, y1, x1 = visit.window
        reach = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
        assert visit.members.tolist() == np.flatnonzero(reach).tolist()
        waiting |= set(visit.new.tolist())
        seen += visit.new.tolist()
        assert waiting >= set(visit.members.tolist())
        waiting -= set(visit.done.tolist())
    assert sorted(seen) == list(range(40)) and not waiting


def test_nothing_to_paste_is_background():
    labels = paste_all([], np.zeros((0, 4), np.int64), (5, 7), 1)
    assert labels.shape == (5, 7) and labels.dtype == np.uint16 and not labels[:, :].any()


def test_more_than_65535_cells_need_32_bits():
    for count, dtype in ((2**16, np.uint32), (2**16 - 1, np.uint16)):
        canvas = np.arange(2**16, dtype=np.uint32).reshape(256, 256) + 1
        canvas[canvas > count] = 0
        areas = np.bincount(canvas.ravel(), minlength=count + 1)
        labels = Labels(canvas, relabel(areas, areas, 1, 0.0))
        assert labels.dtype == dtype and labels.count == labels[:, :].max() == count


def test_a_label_image_in_a_file_is_that_in_memory(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    start = rng.integers(0, [560, 1100], (300, 2))
    boxes = np.concatenate((start, start + rng.integers(4, 30, (300, 2))), 1)
    image = rng.integers(0, 256, (1200, 650, 3), dtype=np.uint8)

    def segmenter(crops):
        return [crops[..., 0].astype(np.float32) / 255]

    files = []
    monkeypatch.setattr(predict_module, "BLOCK", 256)
    for name, limit in (("memory", 2**28), ("file", 0)):
        monkeypatch.setattr(labels_module, "_MAX_IN_MEMORY", limit)
        with open_canvas(image.shape[:2], tmp_path / "canvas") as canvas:
            assert (tmp_path / "canvas").exists() == (limit == 0)
            *areas, _ = draw(image, boxes, segmenter, METHOD, 4, canvas)
            labels = Labels(canvas, relabel(*areas, min_area=1, min_visible=0.5))
            write_label(tmp_path / f"{name}.tiff", labels)
        files.append(tifffile.imread(tmp_path / f"{name}.tiff"))
    np.testing.assert_array_equal(*files)
    assert files[0].max() > 250 and files[1].dtype == np.uint16
    with tifffile.TiffFile(tmp_path / "file.tiff") as tiff:
        assert tiff.is_bigtiff and tiff.pages[0].is_tiled and len(tiff.pages) == 1
        assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.tiff", "memory.tiff"]


def test_no_memory_for_a_batch_halves_it(caplog):
    boxes = np.array([[x, 0, x + 6, 9] for x in range(0, 60, 6)])
    image = np.random.default_rng(0).integers(0, 256, (9, 60, 3), dtype=np.uint8)
    sizes = []

    def bright(crops, most=3):
        if len(crops) > most:
            raise MemoryError
        sizes.append(len(crops))
        return [crops[..., 0].astype(np.float32) / 255]

    found = [mask for mask, _ in segment(image, boxes, bright, METHOD, 8)]
    more = partial(bright, most=99)
    expected = [mask for mask, _ in segment(image, boxes, more, METHOD, 8)]
    for mask, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(mask, other)
    assert sizes[:5] == [2] * 5
    assert "going on with batches of 4" in caplog.text and "batches of 2" in caplog.text
    with pytest.raises(MemoryError):
        list(segment(image, boxes, lambda crops: bright(crops, 0), METHOD, 8))


def test_round_boxes_stay_inside_and_hold_a_pixel():
    boxes = np.array(
        [[-3, -2, 4.4, 5.6], [9.5, 9.5, 9.6, 9.6], [18.2, 8.2, 40, 40], [25, 25, 30, 30]],
        np.float32,
    )
    rounded = round_boxes(boxes, (10, 20))
    np.testing.assert_array_equal(
        rounded, [[0, 0, 4, 6], [10, 9, 11, 10], [18, 8, 20, 10], [19, 9, 20, 10]]
    )
    assert round_boxes(np.zeros((0, 4), np.float32), (10, 20)).shape == (0, 4)


def test_a_margin_is_a_share_of_each_side_and_stays_inside():
    boxes = np.array([[20, 30, 30, 70], [2, 50, 42, 98]], np.float32)
    np.testing.assert_array_equal(
        round_boxes(boxes, (100, 100), 0.1), [[19, 26, 31, 74], [0, 45, 46, 100]]
    )


@pytest.mark.parametrize("side", [5, 16, 61])
def test_a_crop_of_any_size_comes_back(side):
    # A half plane survives the way to 16 x 16 and back to within its blurred rim.
    image = np.zeros((side, side, 3), np.uint8)
    image[:, side // 2 :] = 255
    small = crop(image, np.array([0, 0, side, side]), 16)
    assert small.shape == (16, 16, 3)
    back = uncrop(small[:, :, 0].astype(np.float32) / 255, (side, side)) > 0.5
    assert (back != (image[:, :, 0] > 127)).mean() <= 1 / side


def test_shrinking_averages():
    # One pixel in each 4 x 4 is bright, and not a middle one: looking at middles would see none.
    image = np.zeros((64, 64, 3), np.uint8)
    image[::4, ::4] = 240
    np.testing.assert_array_equal(crop(image, np.array([0, 0, 64, 64]), 16), 15)


def test_an_axis_that_shrinks_is_averaged_while_the_other_grows():
    lines = np.zeros((20, 640, 3), np.uint8)
    lines[:, 5::10] = 240
    np.testing.assert_array_equal(crop(lines, np.array([0, 0, 640, 20]), 64), 24)
    turned = np.ascontiguousarray(lines.swapaxes(0, 1))
    np.testing.assert_array_equal(crop(turned, np.array([0, 0, 20, 640]), 64), 24)


def test_a_crop_is_of_its_box_alone_and_leaves_the_image_alone():
    image = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kept = image.copy()
    small = crop(image, np.array([10, 5, 26, 21]), 16)
    np.testing.assert_array_equal(small, image[5:21, 10:26])
    small[:] = 0
    np.testing.assert_array_equal(image, kept)


@pytest.mark.parametrize("batch", [1, 4, 100])
def test_perfect_boxes_and_masks_give_the_true_label_image(batch):
    rng = np.random.default_rng(5)
    truth = np.zeros((120, 150), np.uint16)
    boxes = []
    for row in range(4):
        for column in range(5):
            high, wide = rng.integers(6, 28, 2)
            y, x = 30 * row + 1, 30 * column + 1
            truth[y : y + high, x : x + wide] = len(boxes) + 1
            boxes.append((x, y, x + wide, y + high))
    image = np.repeat((truth > 0)[:, :, None] * np.uint8(255), 3, 2)
    sizes = []

    def bright(crops):
        sizes.append(len(crops))
        return [crops.mean(3).astype(np.float32) / 255]

    rounded = round_boxes(np.array(boxes, np.float32), truth.shape)
    masks = (mask for mask, _ in segment(image, rounded, bright, METHOD, batch))
    labels = paste_all(list(masks), rounded, truth.shape, 1)
    np.testing.assert_array_equal(labels[:, :], truth)
    assert sum(sizes) == len(boxes) and max(sizes) <= batch


def first_channel(crops):
    return [crops[..., 0] / np.float32(255)]


def test_a_probability_of_just_the_threshold_is_no_cell():
    boxes = np.array([[0, 0, 9, 30]])
    image = np.zeros((30, 30, 3), np.uint8)
    for probability, cell in ((0.5, False), (0.51, True)):
        maps = np.full((1, 16, 16), probability, np.float32)
        ((mask, _),) = segment(image, boxes, lambda _crops, maps=maps: [maps], METHOD, 1)
        assert mask.shape == (30, 9) and (mask == cell).all()


def test_with_a_margin_a_box_that_is_too_small_cuts_no_cell():
    image = np.zeros((60, 60, 3), np.uint8)
    image[20:40, 10:50] = 255
    box = np.array([[13, 21, 47, 39]], np.float32)
    for margin, whole in ((0.0, False), (0.1, True)):
        method = dataclasses.replace(METHOD, crop_size=64, crop_margin=margin)
        labels = outline(image, box, first_channel, method).labels
        assert np.array_equal(labels[:, :] == 1, image[..., 0] > 0) == whole


@pytest.mark.parametrize(("least", "ids"), [(0.0, {1, 2}), (0.5, {1, 2}), (0.51, {1})])
def test_what_better_ones_cover_is_dropped(least, ids):
    image = np.full((20, 40, 3), 255, np.uint8)
    boxes = np.array([[0, 0, 20, 20], [10, 0, 30, 20]], np.float32)  # half of the second is hidden
    method = dataclasses.replace(METHOD, min_visible=least)
    labels = outline(image, boxes, first_channel, method).labels
    assert set(np.unique(labels[:, :])) - {0} == ids
    assert (labels[:, :20] == 1).all() and not labels[:, 30:].any()
