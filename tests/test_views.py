"""Eight views of an image: they come back, they fit into a time, and what they agree on stays."""

import time

import numpy as np
import pytest
from ensemble_boxes import weighted_boxes_fusion

from app.detect import detect
from app.views import VIEWS, Turned, detect_views, free_seconds, fuse, turn, turn_back
from tests.test_tile import paint, scatter, see, small


@pytest.mark.parametrize("view", range(VIEWS))
def test_boxes_of_a_view_come_back(view):
    rng = np.random.default_rng(view)
    for _ in range(5):
        x0, y0 = rng.integers(0, (40, 20))
        x1, y1 = rng.integers((x0 + 1, y0 + 1), (51, 31))
        image = np.zeros((30, 50, 3), np.uint8)
        image[y0:y1, x0:x1] = 255
        ys, xs = np.nonzero(turn(image, view)[:, :, 0])
        seen = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        assert turn_back(seen, view, (30, 50)).tolist() == [[x0, y0, x1, y1]]


def test_views_are_eight_different_ones():
    image = np.random.default_rng(0).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    assert len({turn(image, view).tobytes() for view in range(VIEWS)}) == 8


@pytest.mark.parametrize("view", range(VIEWS))
def test_any_part_of_a_view_can_be_read(view):
    image = np.random.default_rng(1).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    whole, part = turn(image, view), Turned(image, view)
    assert part.shape == whole.shape
    np.testing.assert_array_equal(part[:, :], whole)
    np.testing.assert_array_equal(part[3:17, 11:28], whole[3:17, 11:28])


def scene():
    return paint(scatter(np.random.default_rng(4), (200, 150), (8, 40), 60))


def test_views_of_a_perfect_detector_agree():
    image = scene()
    wanted, _ = detect(image, see, small)
    boxes, scores = detect_views(image, see, small, seconds=60)
    assert sorted(boxes.tolist()) == sorted(wanted.tolist()) and len(boxes) > 10
    assert (np.diff(scores) <= 0).all()


@pytest.mark.parametrize(("seconds", "views"), [(0.0, 1), (0.5, 2), (60.0, 8)])
def test_no_view_is_begun_that_would_not_end_in_time(seconds, views):
    seen = []

    def slow(batch):
        seen.append(batch.shape)
        time.sleep(0.2)
        return [np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.float32)]

    started = time.monotonic()
    boxes, _ = detect_views(np.zeros((64, 96, 3), np.uint8), slow, small, seconds)
    assert not len(boxes) and len(seen) == views
    assert time.monotonic() - started < max(seconds, 0.25)


def test_the_time_is_that_of_the_challenge():
    assert free_seconds((100, 100)) == free_seconds((1000, 1000)) == 5.0
    assert free_seconds((2000, 1500)) == 15.0


def test_what_one_view_alone_finds_is_dropped():
    images = []

    def ghosts(batch):
        images.append(batch)
        boxes, scores = see(batch)
        if len(images) == 3:
            boxes = np.concatenate((boxes, np.array([[[2, 2, 9, 9]]], np.float32)), 1)
            scores = np.concatenate((scores, np.array([[0.9]], np.float32)), 1)
        return [boxes, scores]

    image = paint(np.pad(np.ones((12, 20), int), 20))
    assert detect_views(image, ghosts, small, seconds=60)[0].tolist() == [[20, 20, 40, 32]]


def test_fused_as_weighted_boxes_fusion_does():
    """Cells that lie apart, seen by each view a little differently, and by some not at all."""
    rng = np.random.default_rng(2)
    corners = np.stack(np.meshgrid(np.arange(9), np.arange(9)), 2).reshape(-1, 2) * 100.0
    cells = np.concatenate((corners + 10, corners + rng.uniform(50, 80, (81, 2))), 1)
    views = []
    for _ in range(VIEWS):
        seen = rng.random(81) < 0.7
        boxes = (cells[seen] + rng.uniform(-2, 2, (seen.sum(), 4))).astype(np.float32)
        views.append((boxes, rng.uniform(0.2, 1.0, seen.sum()).astype(np.float32)))
    boxes, scores = fuse(views, 0.5)
    wanted, wanted_scores, _ = weighted_boxes_fusion(
        [boxes / 900 for boxes, _ in views],
        [scores for _, scores in views],
        [np.zeros(len(scores)) for _, scores in views],
        iou_thr=0.5,
    )
    np.testing.assert_allclose(scores, wanted_scores, atol=1e-5)
    np.testing.assert_allclose(boxes, wanted * 900, atol=1e-2)


def test_nothing_to_fuse():
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    boxes, scores = fuse([nothing, nothing], 0.5)
    assert boxes.shape == (0, 4) and scores.shape == (0,)
