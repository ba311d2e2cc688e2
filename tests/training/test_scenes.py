"""The detector's samples: what is done to a picture happens to its boxes, and by the seed alone."""

import dataclasses
import pickle

import cv2
import numpy as np
import pytest
import torch

from app.normalise import Normalised, percentile_limits
from tests.training.tiny_dataset import discs
from training.augment.artefacts import spoil
from training.augment.empty import find_field, noise_field, real_field
from training.augment.fluorescence import membranes, stain
from training.augment.framing import draw_cell_scale, outside, reflect_label, warp_recording
from training.augment.geometry import label_boxes, moved_boxes, random_affine, warp_label
from training.augment.limits import draw_limits, record, show
from training.augment.packing import pack
from training.augment.scene import render
from training.samples import DetectorSamples, collate_boxes

SIZE = (96, 128)
EVERYTHING = {
    "cell_sizes": [8, 60],
    "cell_size_share": 0.5,
    "reflect": 0.5,
    "limits": 0.6,
    "composites": 0.4,
    "packed": 0.3,
    "artefacts": 2.0,
    "empty": 0.1,
}


@pytest.fixture
def varied(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.detector, **EVERYTHING)
    return DetectorSamples(tiny_images[0], [], config, tiny_config.method)


def recorded(image, label, usual=((0.0, 255.0),)):
    shown = np.repeat(image[:, :, None].astype(np.uint8), 3, 2) if image.ndim == 2 else image
    return record(image, shown, usual, label)


def cells(seed, count=5):
    """Bright discs on black: (H, W) uint8, their label image and areas."""
    _, label = discs(np.random.default_rng(seed), count)
    return (label > 0) * np.uint8(200), label, np.bincount(label.ravel()).astype(float)


def test_a_sample_is_a_function_of_seed_and_number(varied):
    again = pickle.loads(pickle.dumps(varied))
    for number in (3, 17, 8):
        varied[number + 1]  # what was drawn before makes no difference
        assert all(torch.equal(a, b) for a, b in zip(varied[number], again[number], strict=True))


def test_boxes_lie_in_the_crop_and_have_a_size(varied):
    side, found = varied.config.crop, 0
    for number in range(60):
        image, boxes, ignored = varied[number]
        assert image.shape == (3, side, side) and image.dtype == torch.uint8
        for part in (boxes, ignored):
            assert part.dtype == torch.float32 and part.shape[1:] == (4,)
            assert bool((part[:, 2:] > part[:, :2]).all())
            assert not len(part) or (part.min() >= 0 and part.max() <= side)
        assert not len(boxes) or float((boxes[:, 2:] - boxes[:, :2]).prod(1).min()) >= 16
        found += len(boxes)
    assert found > 100


def test_images_are_not_copied(tiny_images, tiny_config):
    samples = DetectorSamples(tiny_images[0], [], tiny_config.detector, tiny_config.method)
    for kept, given in zip(samples.labelled.images, tiny_images[0], strict=True):
        assert kept.recording is given.recording and kept.label is given.label
        assert kept.recording.grey and kept.image.strides[2] == 0  # three channels stored once


def test_batches_without_a_box_collate(varied):
    varied.config = dataclasses.replace(varied.config, empty=1.0)
    images, boxes, ignored = collate_boxes([varied[n] for n in range(8)])
    assert images.shape[0] == 8
    for flat, counts in (boxes, ignored):
        assert flat.shape == (0, 4) and counts.tolist() == [0] * 8
    assert len({image.numpy().tobytes() for image in images}) == 8


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.int16])
def test_usual_limits_show_what_prediction_shows(dtype):
    rng = np.random.default_rng(1)
    raw = (rng.gamma(2.0, 20.0, (70, 80, 3))).astype(dtype)
    normal = Normalised(raw, percentile_limits(raw, 1.0, 99.0))
    recording = record(raw, normal[:, :], normal.limits, np.zeros((70, 80), np.uint16))
    shown = show(recording.levels[0], draw_limits(rng, recording, 0.0, True))
    assert np.abs(shown.astype(int) - normal[:, :]).max() <= 1


def test_limits_vary_but_leave_cells_to_be_seen():
    rng = np.random.default_rng(2)
    _, label = discs(rng, 5)
    raw = (rng.integers(90, 110, label.shape) + 300 * (label > 0)).astype(np.uint16)
    raw[3, 3] = 65535  # one defective pixel
    recording = recorded(raw, label, [(90.0, 400.0)])
    drawn = [draw_limits(rng, recording, 1.0, True) for _ in range(200)]
    assert len({tuple(limits.ravel()) for limits in drawn}) > 6
    assert max(float(limits[0, 1]) for limits in drawn) < 6000
    for limits in drawn:
        shown = show(raw, limits)
        assert shown[label > 0].mean() > shown[label == 0].mean() + 15
    assert all((draw_limits(rng, recording, 0.0, True) == recording.usual).all() for _ in range(9))


def test_more_than_four_channels_and_equal_channels():
    rng = np.random.default_rng(3)
    label = np.zeros((60, 60), np.uint16)
    image = rng.integers(0, 255, (60, 60, 3)).astype(np.uint8)
    many = record(rng.random((60, 60, 6)), image, [(0.0, 1.0)] * 6, label)
    np.testing.assert_array_equal(show(many.levels[0], many.usual), image)
    equal = np.repeat(image[:, :, :1], 3, 2)
    assert record(equal, equal, [(0.0, 255.0)] * 3, label).levels[0].shape == (60, 60)
    two = record(image[:, :, :2], image, [(0.0, 255.0)] * 2, label)
    assert not show(two.levels[0], two.usual)[:, :, 2].any()


@pytest.mark.parametrize("scale", [0.15, 0.2, 0.4, 0.9, 2.0])
def test_a_shrunk_recording_stays_where_its_label_is(scale):
    rng = np.random.default_rng(4)
    label = np.zeros((700, 900), np.uint16)
    for number in range(1, 30):
        cv2.circle(label, [int(v) for v in rng.integers(40, 660, 2)], 30, number, -1)
    recording = recorded((label > 0) * np.uint8(255), label)
    assert len(recording.levels) == 4
    affine = random_affine(rng, (450.0, 350.0), scale, 1.0, SIZE)
    crop = warp_recording(recording, affine, SIZE, reflect=False)
    past = outside(label.shape, affine, SIZE)
    inside = slice(None) if past is None else ~past
    moved = warp_label(label, affine, SIZE) > 0
    rim = cv2.morphologyEx(moved.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    differ = ((crop > 127) != moved) & (rim == 0)
    assert differ[inside].mean() < 0.002


def test_detail_too_fine_to_be_seen_becomes_grey():
    stripes = np.tile(np.array([0, 255], np.uint8), (400, 200))
    recording = recorded(stripes, np.zeros(stripes.shape, np.uint16))
    affine = np.array([[0.2, 0, 0], [0, 0.2, 0]])
    crop = warp_recording(recording, affine, (70, 70), reflect=False)
    assert abs(float(crop.mean()) - 127) < 3 and crop.std() < 3


def test_past_the_edge_is_told():
    affine = np.array([[1.0, 0.0, 10.0], [0.0, 1.0, 5.0]])
    past = outside((20, 30), affine, (40, 50))
    wanted = np.ones((40, 50), bool)
    wanted[5:25, 10:40] = False
    assert (past != wanted).mean() < 0.03  # to a pixel at the rim
    assert outside((100, 100), np.array([[1.0, 0, -20], [0, 1.0, -20]]), (40, 50)) is None


def test_mirrored_cells_are_separate_and_cut_ones_are_whole():
    label = np.zeros((40, 40), np.uint16)
    label[10:20, 8:18] = 3  # inside
    label[30:40, 25:33] = 7  # cut by the lower edge: one with its mirror image
    cv2.circle(label, (37, 10), 2, 9, -1)  # touches the right edge in one pixel
    boxes, ids = label_boxes(label)
    affine = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    moved, origin = reflect_label(label, boxes, ids, affine, (80, 80))
    assert sorted(origin[1:].tolist()) == [3] * 4 + [7] * 2 + [9] * 4
    found, numbers = label_boxes(moved)
    assert len(numbers) == 10
    for box, number in zip(found.tolist(), numbers.tolist(), strict=True):
        wanted = {3: (10, 10), 7: (8, 20), 9: (5, 5)}[origin[number]]
        assert (box[2] - box[0], box[3] - box[1]) == wanted
    np.testing.assert_array_equal(moved > 0, np.pad(label, ((0, 40), (0, 40)), "symmetric") > 0)


@pytest.mark.parametrize("seed", range(5))
def test_a_mirrored_picture_and_its_label_agree(seed, tiny_images, tiny_config):
    rng = np.random.default_rng(seed)
    sample = tiny_images[0][0]
    config = dataclasses.replace(tiny_config.detector, reflect=1.0, photometric=0.0)
    affine = random_affine(rng, (48.0, 48.0), 0.8, 1.0, (128, 128))
    image, label, areas, _ = render(rng, sample, affine, (128, 128), config, 114)
    assert (image[label > 0] > 100).mean() > 0.9 and (image[label == 0] < 100).mean() > 0.95
    assert len(areas) == label.max() + 1


def test_cells_get_the_size_that_is_asked_for():
    rng = np.random.default_rng(5)
    boxes = np.array([[0, 0, 20, 20], [0, 0, 30, 30], [5, 5, 45, 45]], np.float32)
    sides = np.array([30 * draw_cell_scale(rng, boxes, (8, 100), (512, 512)) for _ in range(400)])
    assert sides.min() >= 7.9 and sides.max() <= 101
    assert 0.35 < (sides < np.sqrt(800)).mean() < 0.65  # log-uniform
    assert max(draw_cell_scale(rng, boxes, (8, 900), (512, 512)) for _ in range(99)) <= 4


@pytest.mark.parametrize("seed", range(12))
def test_composites_show_the_cells(seed):
    rng = np.random.default_rng(seed)
    grey, label, _ = cells(seed)
    picture = stain(rng, grey, label, 14.0)
    assert picture.shape == (*label.shape, 3) and picture.dtype == np.uint8
    differences = [
        abs(float(picture[:, :, c][label > 0].mean()) - float(picture[:, :, c][label == 0].mean()))
        for c in range(3)
    ]
    assert max(differences) > 40
    again = stain(np.random.default_rng(seed), grey, label, 14.0)
    other = stain(np.random.default_rng(seed), grey, label, 14.0)
    np.testing.assert_array_equal(again, other)


def test_membranes_lie_round_the_cells():
    _, label, _ = cells(0)
    lines = np.mean([membranes(np.random.default_rng(n), label, 14.0) for n in range(20)], 0)
    near = cv2.dilate((label > 0).astype(np.uint8), np.ones((25, 25), np.uint8)) > 0
    core = cv2.erode((label > 0).astype(np.uint8), np.ones((7, 7), np.uint8)) > 0
    assert lines[near & (label == 0)].mean() > 3 * lines[~near].mean()
    assert lines[near & (label == 0)].mean() > lines[core].mean()
    assert not membranes(np.random.default_rng(0), np.zeros((50, 60), np.uint16), 14.0).any()


@pytest.mark.parametrize("rods", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_packed_cells_are_pictured_where_they_are_labelled(seed, rods):
    grey, label, areas = cells(seed, 3)
    grey, label = (np.pad(part, ((0, 100), (0, 100))) for part in (grey, label))
    rng = np.random.default_rng(seed)
    picture, packed, new_areas = pack(rng, grey, label, areas, rods)
    assert packed.max() > label.max() and len(new_areas) == packed.max() + 1
    assert ((picture > 100) != (packed > 0)).sum() < 0.25 * (packed > 0).sum()
    left = np.bincount(packed.ravel(), minlength=len(new_areas))[1:] / new_areas[1:]
    assert (left > 0.6).all() and left.mean() > 0.93
    # The originals stay.
    assert set(np.unique(label)) <= set(np.unique(packed))


def test_crowded_and_cell_less_crops_are_not_packed():
    grey, label, _ = cells(0)
    rng = np.random.default_rng(0)
    crowded = np.ones_like(label)
    assert pack(rng, grey, crowded, np.array([0.0, crowded.size]), False)[1] is crowded
    nothing = np.zeros_like(label)
    assert pack(rng, grey, nothing, np.zeros(1), False)[1] is nothing


@pytest.mark.parametrize("colour", [False, True])
def test_artefacts_keep_shape_and_most_of_the_picture(colour):
    rng = np.random.default_rng(6)
    image = rng.integers(80, 170, (*SIZE, 3)).astype(np.uint8)
    image = image if colour else np.repeat(image[:, :, :1], 3, 2)
    kept = image.copy()
    changes = []
    for seed in range(60):
        spoilt = spoil(np.random.default_rng(seed), image, 20.0, 1.0)
        again = spoil(np.random.default_rng(seed), image, 20.0, 1.0)
        np.testing.assert_array_equal(spoilt, again)
        assert spoilt.shape == image.shape and spoilt.dtype == np.uint8
        changes.append(not np.array_equal(spoilt, image))
    assert 0.2 < np.mean(changes) < 0.8
    np.testing.assert_array_equal(image, kept)  # the input is nobody's to write on
    assert spoil(rng, image, 20.0, 0.0) is image


def test_fields_without_cells():
    label = np.zeros((200, 200), np.uint16)
    label[:90, :120] = 1
    ignored, covered = np.array([[0, 110, 90, 200]], np.float32), label.copy()
    covered[110:, :90] = 1
    rng = np.random.default_rng(7)
    found = [find_field(rng, label, ignored) for _ in range(20)]
    for field in filter(None, found):
        y, x, side = field
        assert side >= 64 and not covered[y : y + side, x : x + side].any()
        assert y + side <= 200 and x + side <= 200
    assert any(found)
    assert find_field(rng, np.ones((200, 200), np.uint16), ignored) is None
    assert find_field(rng, np.zeros((40, 200), np.uint16), ignored) is None
    recording = recorded((label == 0) * np.uint8(50) + np.uint8(100), label)
    field = next(filter(None, found))
    crop, limits = real_field(rng, recording, field, 1.7, SIZE)
    assert crop.shape == SIZE and set(np.unique(crop)) == {150} and limits.shape == (1, 2)
    for seed in range(20):
        noise = noise_field(np.random.default_rng(seed), SIZE)
        assert noise.shape == (*SIZE, 3) and noise.dtype == np.uint8


def test_boxes_move_as_labels_do():
    rng = np.random.default_rng(8)
    _, label = discs(rng, 5)
    boxes, _ = label_boxes(label)
    affine = random_affine(rng, (48.0, 48.0), 1.5, 0.0, (200, 200))
    moved = moved_boxes(boxes, affine, (200, 200))
    wanted, _ = label_boxes(warp_label(label, affine, (200, 200)))
    order, wanted_order = (np.lexsort(b.round().T) for b in (moved, wanted))
    np.testing.assert_allclose(moved[order], wanted[wanted_order], atol=1.0)
    assert moved_boxes(boxes + 1000, affine, (200, 200)).shape == (0, 4)
    assert moved_boxes(np.zeros((0, 4), np.float32), affine, (200, 200)).shape == (0, 4)
