"""Boxes of all windows to one box a cell, in full-image coordinates."""

import cv2
import numpy as np
from numpy.typing import NDArray


def nms(
    boxes_xyxy: NDArray[np.float32], scores: NDArray[np.float32], iou: float
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: the best box stays, what overlaps it too much goes.

    Args:
        boxes_xyxy: (N, 4) float32, pixels of any one frame.
        scores: (N,) float32.
        iou: boxes that overlap a better one by more than this are dropped, in (0, 1].

    Returns:
        (M,) int64 indices of the boxes that stay, best first; of equal scores, the earlier first.
    """
    boxes_xywh = np.concatenate((boxes_xyxy[:, :2], boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]), 1)
    order = np.argsort(-scores, kind="stable")
    kept = cv2.dnn.NMSBoxes(boxes_xywh[order].tolist(), scores[order].tolist(), 0.0, iou)
    return order[np.sort(np.asarray(kept, np.int64).ravel())]
