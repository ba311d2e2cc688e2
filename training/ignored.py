"""Boxes in which the detector learns neither that there is a cell nor that there is none.

They are of what may be a cell: without a label, but a teacher sees one there. In a file they are
lists of xyxy in pixels of the image, by the image's name.
"""

import dataclasses
import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from app.files.atomic import atomic_write
from training.data import Labelled
from training.errors import InputError
from training.losses import paired_iou

IGNORED = "ignored.json"  # in a folder of pseudo-labels

_MAX_IOU = 0.3  # with a labelled cell
_MAX_COVERED = 0.3  # of a box, by labels


def without_label(
    found: NDArray[np.float32], boxes: NDArray[np.float32], label: NDArray[np.integer]
) -> NDArray[np.float32]:
    """The boxes that no labelled cell overlaps, and labels hardly cover.

    Args:
        found: (N, 4) xyxy, pixels of the image.
        boxes: (K, 4) xyxy, of the labelled cells.
        label: (H, W), their label image.

    Returns:
        (M, 4) of ``found``.
    """
    if not len(found):
        return found
    alone = np.ones(len(found), np.bool_)
    if len(boxes):
        iou = paired_iou(torch.from_numpy(found)[:, None], torch.from_numpy(boxes)[None])
        alone = (iou.amax(1) <= _MAX_IOU).numpy()
    covered = []
    for x0, y0, x1, y1 in np.rint(found).astype(int).tolist():
        part = label[max(y0, 0) : max(y1, y0 + 1), max(x0, 0) : max(x1, x0 + 1)]
        covered.append(float((part > 0).mean()) if part.size else 1.0)
    return found[alone & (np.array(covered) < _MAX_COVERED)]


def write_ignored(path: Path, boxes: dict[str, list[list[float]]]) -> None:
    """Write the boxes of images, by name.

    Raises:
        OSError: the file can't be written.
    """
    with atomic_write(path) as part:
        part.write_text(json.dumps(boxes))


def with_ignored(images: list[Labelled], path: Path) -> list[Labelled]:
    """Images with the boxes of such a file.

    Raises:
        OSError: there is no such file.
        InputError: it holds something else.
    """
    try:
        boxes = {
            name: np.array(found, np.float32).reshape(-1, 4)
            for name, found in json.loads(path.read_text()).items()
        }
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no boxes by image ({error}); write it again with the command that makes it "
            "(training/README.md)"
        ) from error
    none = np.zeros((0, 4), np.float32)
    return [dataclasses.replace(image, ignored=boxes.get(image.name, none)) for image in images]
