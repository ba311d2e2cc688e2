"""SimOTA against a slow twin, and the losses where their value is known."""

import math

import numpy as np
import pytest
import torch

from training.losses import (
    assign,
    detection_loss,
    paired_iou,
    predicting,
    segmentation_loss,
    within,
)
from training.models.detector import Predictions, anchor_points, decode

SHAPE = (96, 128)


def random_predictions(images: int, seed: int) -> Predictions:
    generator = torch.Generator().manual_seed(seed)
    points, strides = anchor_points(*SHAPE, torch.device("cpu"))
    raw = torch.randn(images, len(points), 4, generator=generator)
    return Predictions(
        decode(raw, points, strides),
        raw,
        torch.randn(images, len(points), generator=generator),
        torch.randn(images, len(points), 1, generator=generator),
    )


def random_boxes(count: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, [SHAPE[1] - 30, SHAPE[0] - 30], (count, 2))
    boxes = np.concatenate((start, start + rng.uniform(4, 30, (count, 2))), 1)
    return torch.from_numpy(boxes.astype(np.float32))


def slow_iou(a, b) -> float:
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return wide * high / (sum(areas) - wide * high)


def slow_assign(predictions: Predictions, boxes: list[torch.Tensor]) -> dict[int, int]:
    """Anchor point (over the batch) to box (over the batch), one loop for each sentence."""
    points, strides = anchor_points(*SHAPE, torch.device("cpu"))
    total, offset = len(points), 0
    claims: dict = {}
    for image, truth in enumerate(boxes):
        for number, box in enumerate(truth.tolist()):
            centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
            options = []
            for anchor in range(total):
                stride = float(strides[anchor, 0])
                cell = (math.floor(centre[0] / stride), math.floor(centre[1] / stride))
                x, y = points[anchor].tolist()
                if max(abs(x - cell[0]), abs(y - cell[1])) > 1:
                    continue
                iou = slow_iou(predictions.boxes[image, anchor].tolist(), box)
                probability = torch.sigmoid(predictions.objectness[image, anchor]) * torch.sigmoid(
                    predictions.classes[image, anchor, 0]
                )
                cost = -math.log(math.sqrt(probability)) - 3 * math.log(iou + 1e-8)
                options.append((cost, anchor, iou))
            wanted = max(1, int(sum(sorted((o[2] for o in options), reverse=True)[:10])))
            for cost, anchor, _ in sorted(options)[:wanted]:
                claims.setdefault(image * total + anchor, []).append((cost, offset + number))
        offset += len(truth)
    return {anchor: min(claim)[1] for anchor, claim in claims.items()}


@pytest.mark.parametrize("seed", range(4))
def test_assignment_equals_the_slow_twin(seed):
    predictions = random_predictions(2, seed)
    boxes = [random_boxes(12, seed), random_boxes(5, seed + 100)]
    flat = Predictions(*(part.flatten(0, 1) for part in predictions))
    image = torch.tensor([0] * 12 + [1] * 5)
    pairs = assign(flat, torch.cat(boxes), image, SHAPE)
    found = dict(zip(pairs.anchors.tolist(), pairs.boxes.tolist(), strict=True))
    assert len(found) == len(pairs.anchors), "an anchor point answers for two boxes"
    assert found == slow_assign(predictions, boxes)


def test_perfect_predictions_cost_nothing_but_the_background():
    boxes = [torch.tensor([[16.0, 24.0, 40.0, 48.0]])]
    points, strides = anchor_points(*SHAPE, torch.device("cpu"))
    centre = (boxes[0][:, :2] + boxes[0][:, 2:]) / 2
    size = boxes[0][:, 2:] - boxes[0][:, :2]
    raw = torch.cat((centre / strides - points, (size / strides).log()), 1)[None]
    certain = torch.full((1, len(points)), -20.0)
    near = (points * strides - centre).abs().amax(1) < 1.5 * strides[:, 0]
    certain[0, near] = 20.0
    predictions = Predictions(decode(raw, points, strides), raw, certain, certain[..., None])
    terms = detection_loss(predictions, boxes, SHAPE, use_l1=True)
    for name in ("iou", "class", "l1"):
        assert terms[name].item() == pytest.approx(0.0, abs=1e-4), name


def test_an_image_without_cells_asks_for_silence():
    predictions = random_predictions(2, 0)
    for part in predictions:
        part.requires_grad_()
    terms = detection_loss(predictions, [torch.zeros(0, 4)] * 2, SHAPE, use_l1=True)
    assert terms["iou"] == terms["class"] == terms["l1"] == 0
    terms["loss"].backward()
    assert (predictions.objectness.grad > 0).all()


def test_what_is_ignored_is_neither_cell_nor_background():
    predictions = random_predictions(2, 3)
    boxes = [random_boxes(3, 3), torch.zeros(0, 4)]
    corner = boxes[0][0, :2] - 10  # the first cell lies in what is ignored
    ignored = [torch.cat((corner, corner + 50))[None], torch.tensor([[0.0, 40.0, 30.0, 90.0]])]
    inside = within(ignored, SHAPE, torch.device("cpu"))
    points, strides = anchor_points(*SHAPE, torch.device("cpu"))
    x, y = ((points + 0.5) * strides).T
    wanted = (x >= corner[0]) & (x < corner[0] + 50) & (y >= corner[1]) & (y < corner[1] + 50)
    assert torch.equal(inside[: len(points)], wanted)
    flat = Predictions(*(part.flatten(0, 1) for part in predictions))
    answering = assign(flat, boxes[0], torch.zeros(3, dtype=torch.int64), SHAPE).anchors
    free = inside | predicting(ignored, predictions.boxes)
    free[answering] = False
    assert inside.sum() > free.sum() > 50

    objectness = predictions.objectness.clone().requires_grad_()
    terms = detection_loss(
        predictions._replace(objectness=objectness), boxes, SHAPE, True, ignored=ignored
    )
    terms["objectness"].backward()
    assert torch.equal(objectness.grad.flatten() == 0, free)
    # Without boxes to ignore the loss is the same as if none were given.
    nothing = [torch.zeros(0, 4)] * 2
    assert detection_loss(predictions, boxes, SHAPE, True, nothing) == detection_loss(
        predictions, boxes, SHAPE, True
    )


def test_a_point_beside_an_ignored_box_that_predicts_it_does_not_count():
    predictions = random_predictions(2, 5)
    points, strides = anchor_points(*SHAPE, torch.device("cpu"))
    number = int(((points * strides).sum(1) == 40 + 32).nonzero()[0])
    corner = points[number] * strides[number]
    tiny = torch.cat((corner - 3, corner + 3))
    predictions.boxes[1] = 0.0
    predictions.boxes[1, number] = tiny + 1  # of 5 x 5 common pixels in 6 x 6: an IoU of 25 / 47
    predictions.boxes[1, number + 1] = tiny + 2  # 16 / 56
    ignored = [torch.zeros(0, 4), tiny[None]]
    inside = within(ignored, SHAPE, torch.device("cpu"))
    assert not inside[len(points) + number]
    found = predicting(ignored, predictions.boxes)
    assert found.nonzero().flatten().tolist() == [len(points) + number]

    objectness = predictions.objectness.clone().requires_grad_()
    none = [torch.zeros(0, 4)] * 2
    terms = detection_loss(predictions._replace(objectness=objectness), none, SHAPE, True, ignored)
    terms["objectness"].backward()
    assert torch.equal(objectness.grad.flatten() == 0, inside | found)


def test_a_cell_outside_the_grid_is_no_error():
    # A box whose centre lies in the last row and column has neighbours outside the image.
    boxes = [torch.tensor([[SHAPE[1] - 4.0, SHAPE[0] - 4.0, SHAPE[1], SHAPE[0]]])]
    terms = detection_loss(random_predictions(1, 0), boxes, SHAPE, use_l1=True)
    assert torch.isfinite(terms["loss"])


def test_iou_in_closed_form():
    box = torch.tensor([0.0, 0.0, 10.0, 10.0])
    shifted = torch.tensor([[5.0, 0, 15, 10], [0.0, 0, 10, 10], [10.0, 0, 20, 10], [2.0, 2, 7, 12]])
    wanted = torch.tensor([50 / 150, 1.0, 0.0, 40 / 110])
    torch.testing.assert_close(paired_iou(box, shifted), wanted, atol=1e-6, rtol=0)


def test_segmentation_loss_prefers_the_truth():
    masks = torch.zeros(2, 8, 8)
    masks[:, 2:6, 2:6] = 1.0
    right = torch.stack((20 * (1 - masks), 20 * masks), 1)
    assert segmentation_loss(right, masks).item() == pytest.approx(0.0, abs=1e-4)
    nothing = torch.stack((torch.full_like(masks, 20), torch.zeros_like(masks)), 1)
    # Cross-entropy: a quarter of the pixels at 20; Dice: 1 - 1 / (16 + 1).
    assert segmentation_loss(nothing, masks).item() == pytest.approx(5 + 16 / 17, rel=1e-4)
