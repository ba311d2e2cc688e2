"""The losses of the detector and of the segmenter."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, l1_loss
from torch.nn.utils.rnn import pad_sequence

from training import processes
from training.models.detector import STRIDES, Predictions, anchor_points

_TOP_K = 10  # anchor points that SimOTA gives a box, at most, as in YOLOX
_IOU_COST = 3.0
_IOU_WEIGHT = 5.0
_NEIGHBOURS = (-1, 0, 1)
_SAME_IOU = 0.5  # from here on a predicted box is of what an ignored one surrounds


class Assignment(NamedTuple):
    """Which anchor point answers for which box: M pairs.

    anchors: (M,) indices into the flattened (B * A) anchor points, each at most once.
    boxes: (M,) indices into the T boxes of the batch.
    iou: (M,) float32, of prediction and box, in [0, 1].
    """

    anchors: Tensor
    boxes: Tensor
    iou: Tensor


def detection_loss(
    predictions: Predictions,
    boxes: list[Tensor],
    shape: tuple[int, int],
    use_l1: bool,
    ignored: list[Tensor] | None = None,
) -> dict[str, Tensor]:
    """YOLOX's loss for one class.

    Args:
        predictions: of a batch of B images.
        boxes: B tensors (N, 4) float32 xyxy, pixels of the input image.
        shape: (H, W) of the input images.
        use_l1: add the L1 term of the last epochs.
        ignored: B tensors (M, 4) like ``boxes``; an anchor point that lies in one of these, or
            whose predicted box is one, is neither cell nor background, unless it answers for a
            box: its objectness does not count.

    Returns:
        Scalars ``iou``, ``objectness``, ``class``, ``l1`` (each weighted, per assigned anchor
        point) and their sum ``loss``.

    Source: YOLOX, section 2.2.
    """
    device = predictions.boxes.device
    flat = Predictions(*(part.flatten(0, 1) for part in predictions))
    truth = torch.cat(boxes).to(device)
    image = torch.repeat_interleave(
        torch.arange(len(boxes), device=device),
        torch.tensor([len(b) for b in boxes], device=device),
    )
    with torch.no_grad():
        pairs = assign(flat, truth, image, shape)
    # Gradients are averaged over the processes, so each divides by its share of all points.
    count = max(processes.total(len(pairs.anchors), device), 1) / processes.count()
    wanted = truth[pairs.boxes]

    iou = paired_iou(flat.boxes[pairs.anchors], wanted)
    target = torch.zeros_like(flat.objectness)
    target[pairs.anchors] = 1.0
    counted = None
    if ignored is not None and any(len(part) for part in ignored):
        undecided = within(ignored, shape, device) | predicting(ignored, predictions.boxes)
        counted = (~undecided).to(target)
        counted[pairs.anchors] = 1.0
    terms = {
        "iou": _IOU_WEIGHT * (1.0 - iou.square()).sum() / count,
        "objectness": binary_cross_entropy_with_logits(
            flat.objectness, target, counted, reduction="sum"
        )
        / count,
        "class": binary_cross_entropy_with_logits(
            flat.classes[pairs.anchors], pairs.iou[:, None], reduction="sum"
        )
        / count,
    }
    if use_l1:
        points, strides = (
            part.repeat(len(boxes), 1)[pairs.anchors] for part in anchor_points(*shape, device)
        )
        centres, sizes = _centres(wanted), wanted[:, 2:] - wanted[:, :2]
        raw = torch.cat((centres / strides - points, (sizes / strides).log()), 1)
        terms["l1"] = l1_loss(flat.distances[pairs.anchors], raw, reduction="sum") / count
    else:
        terms["l1"] = torch.zeros((), device=device)
    return {"loss": torch.stack(tuple(terms.values())).sum(), **terms}


def within(boxes: list[Tensor], shape: tuple[int, int], device: torch.device) -> Tensor:
    """Whether each anchor point's middle lies in a box: (B * A,) bool.

    Args:
        boxes: B tensors (M, 4) xyxy, pixels of the input image.
        shape: (H, W) of the input images.
    """
    points, strides = anchor_points(*shape, device)
    x, y = ((points + 0.5) * strides).unbind(1)
    padded = pad_sequence(boxes, batch_first=True).to(device)  # (B, M, 4); added ones are empty
    x0, y0, x1, y1 = padded[..., None].unbind(2)  # (B, M, 1) each
    return ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).any(1).flatten()


@torch.no_grad()
def predicting(boxes: list[Tensor], predicted: Tensor) -> Tensor:
    """Whether each anchor point's predicted box is one of these: (B * A,) bool.

    A point beside a small box can predict it as well as one inside.

    Args:
        boxes: B tensors (M, 4) xyxy, pixels of the input image.
        predicted: (B, A, 4) float32, likewise.
    """
    same = [
        (paired_iou(of_image[:, None], part.to(of_image)) >= _SAME_IOU).any(1)
        for of_image, part in zip(predicted, boxes, strict=True)
    ]
    return torch.cat(same)


def assign(flat: Predictions, truth: Tensor, image: Tensor, shape: tuple[int, int]) -> Assignment:
    """SimOTA over a whole batch at once.

    Only the nine anchor points nearest to a box's centre at each level can answer for it (the
    "centre prior"), so the work grows with the number of boxes, not with boxes times points.

    Args:
        flat: predictions of B images, flattened to (B * A, ...).
        truth: (T, 4) float32 xyxy boxes of all images, pixels.
        image: (T,) index of each box's image.
        shape: (H, W) of the input images.

    Source: YOLOX, section 2.1 (SimOTA); OTA (Ge et al. 2021), section 3.
    """
    candidates, inside = _centre_candidates(truth, image, shape)  # (T, 27)
    iou = paired_iou(flat.boxes[candidates], truth[:, None]) * inside
    probability = flat.objectness.sigmoid() * flat.classes[:, 0].sigmoid()
    cost = -0.5 * probability[candidates].clamp(min=1e-12).log()
    cost = cost - _IOU_COST * (iou + 1e-8).log()
    cost = cost.masked_fill(~inside, torch.inf)

    # A box takes as many points as the sum of its best overlaps says, the cheapest first.
    wanted = iou.topk(min(_TOP_K, iou.shape[1]), 1).values.sum(1).int().clamp(min=1)
    rank = cost.argsort(1).argsort(1)
    box, column = ((rank < wanted[:, None]) & inside).nonzero(as_tuple=True)

    # A point that several boxes want goes to the cheapest.
    anchor = candidates[box, column]
    by_cost = cost[box, column].argsort(stable=True)
    by_anchor = by_cost[anchor[by_cost].argsort(stable=True)]
    sorted_anchor = anchor[by_anchor]
    first = torch.ones_like(sorted_anchor, dtype=torch.bool)
    first[1:] = sorted_anchor[1:] != sorted_anchor[:-1]
    kept = by_anchor[first]
    return Assignment(anchor[kept], box[kept], iou[box[kept], column[kept]])


def _centre_candidates(
    truth: Tensor, image: Tensor, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """The 3 x 3 anchor points round each box's centre at each level.

    Returns:
        (T, 27) indices into the flattened (B * A) points, and whether each lies in the image;
        where it does not the index is 0.
    """
    total = sum((shape[0] // s) * (shape[1] // s) for s in STRIDES)
    dy, dx = torch.meshgrid(torch.tensor(_NEIGHBOURS), torch.tensor(_NEIGHBOURS), indexing="ij")
    offsets = torch.stack((dx.flatten(), dy.flatten()), 1).to(truth.device)  # (9, 2) xy
    indices, valid, start = [], [], 0
    for stride in STRIDES:
        height, width = shape[0] // stride, shape[1] // stride
        cell = (_centres(truth) / stride).floor().long()[:, None] + offsets  # (T, 9, 2)
        x, y = cell.unbind(-1)
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
        index = image[:, None] * total + start + y * width + x
        indices.append(torch.where(inside, index, 0))
        valid.append(inside)
        start += height * width
    return torch.cat(indices, 1), torch.cat(valid, 1)


def paired_iou(first: Tensor, second: Tensor) -> Tensor:
    """Intersection over union of boxes (..., 4) xyxy, pair by pair, broadcast."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(
        first[..., :2], second[..., :2]
    )
    overlap = sides.clamp(min=0).prod(-1)
    areas = [(b[..., 2:] - b[..., :2]).clamp(min=0).prod(-1) for b in (first, second)]
    return overlap / (areas[0] + areas[1] - overlap + 1e-8)


def segmentation_loss(logits: Tensor, masks: Tensor) -> Tensor:
    """Cross-entropy + Dice, as published.

    Args:
        logits: (B, 2, H, W) of background and cell.
        masks: (B, H, W) float in [0, 1], the share of each pixel that is the cell.

    Source: VSM paper, section 2.3; the Dice loss of Milletari et al. 2016, section 3.
    """
    target = torch.stack((1.0 - masks, masks), 1)
    cell = logits.softmax(1)[:, 1].flatten(1)
    flat = masks.flatten(1)
    dice = (2 * (cell * flat).sum(1) + 1) / (cell.square().sum(1) + flat.square().sum(1) + 1)
    return cross_entropy(logits, target) + (1.0 - dice).mean()


def _centres(boxes: Tensor) -> Tensor:
    return (boxes[:, :2] + boxes[:, 2:]) / 2
