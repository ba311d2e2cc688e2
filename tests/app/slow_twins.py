"""Plain-loop references that the fast code must equal."""

import numpy as np


def slow_iou(a, b) -> float:
    """Intersection over union of two xyxy boxes; 0 where both are empty."""
    wide = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    high = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = sum((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)) - wide * high
    return wide * high / union if union > 0 else 0.0


def slow_nms(boxes, scores, iou) -> list[int]:
    """Indices of the boxes that stay: each is compared with all that stay before it."""
    kept: list[int] = []
    for i in sorted(range(len(scores)), key=lambda i: (-scores[i], i)):
        if all(slow_iou(boxes[i].tolist(), boxes[k].tolist()) <= iou for k in kept):
            kept.append(i)
    return kept


def slow_paste(masks, boxes, shape, min_area, min_visible) -> np.ndarray:
    """Pixel by pixel: each goes to the first mask that wants it; small and hidden instances go."""
    owner = np.zeros(shape, int)
    for y in range(shape[0]):
        for x in range(shape[1]):
            for number, (mask, (x0, y0, x1, y1)) in enumerate(zip(masks, boxes, strict=True), 1):
                if x0 <= x < x1 and y0 <= y < y1 and mask[y - y0, x - x0]:
                    owner[y, x] = number
                    break
    label = np.zeros(shape, int)
    following = 1
    for number in range(1, len(masks) + 1):
        area, whole = (owner == number).sum(), masks[number - 1].sum()
        if area >= max(1, min_area) and area >= min_visible * whole:
            label[owner == number] = following
            following += 1
    return label


def slow_normalise(channel, low, high) -> np.ndarray:
    """A channel by numpy's own percentiles over its finite non-zero pixels."""
    values = channel[(channel != 0) & np.isfinite(channel)].astype(np.float64)
    if values.size == 0:
        return np.zeros(channel.shape, np.uint8)
    bottom, top = np.percentile(values, [low, high])
    if bottom == top:
        return np.where(channel != 0, 255, 0).astype(np.uint8)
    unit = (np.nan_to_num(channel.astype(np.float64)) - bottom) / (top - bottom)
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)
