"""Eight views of an image: they come back, and what they agree on stays."""

import numpy as np
import pytest
from ensemble_boxes import weighted_boxes_fusion

from app.detect import detect
from tests.app.perfect_detectors import SMALL, paint, scatter, see
from training.views import VIEWS, detect_views, fuse, turn, turn_back


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


def scene():
    return paint(scatter(np.random.default_rng(4), (200, 150), (8, 40), 60))


@pytest.mark.parametrize("magnification", [None, 1.0, 2.0])
def test_views_of_a_perfect_detector_agree(magnification):
    image = scene()
    wanted, _ = detect(image, see, SMALL, magnification=magnification)
    boxes, scores = detect_views(image, see, SMALL, SMALL.score_threshold, magnification)
    assert len(boxes) == len(wanted) > 10
    near = np.abs(boxes[:, None] - wanted).max(2).min(1)
    assert near.max() < (1e-3 if magnification != 2.0 else 1.5)
    assert (np.diff(scores) <= 0).all()


def test_what_all_views_find_scores_high_and_what_one_finds_low():
    batches = []

    def ghosts(batch):
        batches.append(batch)
        boxes, scores = see(batch)
        if len(batches) == 3:
            boxes = np.concatenate((boxes, np.array([[[2, 2, 9, 9]]], np.float32)), 1)
            scores = np.concatenate((scores, np.array([[0.9]], np.float32)), 1)
        return [boxes, scores]

    image = paint(np.pad(np.ones((12, 20), int), 20))
    boxes, scores = detect_views(image, ghosts, SMALL, 0.0)
    assert len(batches) == VIEWS
    np.testing.assert_allclose(boxes[0], [20, 20, 40, 32], atol=1e-4)
    assert scores[1:].tolist() == pytest.approx([0.9 / VIEWS])
    assert len(detect_views(image, ghosts, SMALL, 0.5)[0]) == 1


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
