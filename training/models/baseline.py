"""The end-to-end baseline: one U-Net that tells background, cell and boundary apart.

Instances are what is connected inside. It has no detector, and shows what one is worth (VSM paper,
table 6; the organisers' own baseline works like this).
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.measure import label as connected_components
from skimage.morphology import dilation, disk
from skimage.segmentation import expand_labels, find_boundaries
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.utils.data import default_collate

from app.files.arrays import Pixels
from app.files.labels import Labels
from app.paste import relabel
from app.settings import Method
from app.tile import magnify, pad, scale_factor, windows
from training.config import BaselineConfig
from training.data import Labelled
from training.metric import score_image
from training.models.segmenter import Segmenter
from training.samples import CropSamples
from training.tasks import Scalars, floats, means, middle

INTERIOR, BOUNDARY, CLASSES = 1, 2, 3  # 0 is background
_RIM = 2  # pixels of a cell, from its edge, that are boundary


class Baseline(Segmenter):
    """(B, 3, H, W) float RGB in [0, 255] to (B, 3, H, W) logits of the classes."""

    def __init__(self, size: str) -> None:
        super().__init__(size, CLASSES)


class BaselineSamples(CropSamples):
    """Sample i is a crop (3, S, S) uint8 and its classes (S, S) int64."""

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        size = (self.config.crop, self.config.crop)
        image, label, _ = self.view(self.start(index), size, self.window(index))
        pixels = torch.from_numpy(image).permute(2, 0, 1).contiguous()
        return pixels, torch.from_numpy(to_classes(label))


class BaselineTask:
    """Crops to classes; scored by the F1 of instances at IoU 0.5, mean over images."""

    def __init__(
        self,
        config: BaselineConfig,
        method: Method,
        train: list[Labelled],
        val: list[Labelled],
    ) -> None:
        self.config = config
        self.method = method
        self.model: nn.Module = Baseline(config.size)
        self.samples = BaselineSamples(train, [], config, method)
        self.val = [(v.modality, *middle(v, method)[:2]) for v in val]

    def collate(self, items: list[Any]) -> Any:
        return default_collate(items)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> Scalars:
        images, classes = batch
        (logits,) = model(floats(images, model))
        return {"loss": class_loss(logits.float(), classes.to(logits.device))}

    def validate(self, model: nn.Module) -> dict[str, float]:
        scores: list[tuple[str, float]] = []
        for modality, image, label in self.val:
            found = instances(classify(model, image, self.method))
            scores.append((modality, score_image(label, found)[0].f1))
        return means(scores)


def to_classes(label: NDArray[np.uint16]) -> NDArray[np.int64]:
    """The classes (H, W) of a label image: a cell's outer pixels, and the next outside, are rim."""
    classes = (label > 0).astype(np.int64)
    classes[dilation(find_boundaries(label, mode="inner"), disk(_RIM - 1))] = BOUNDARY
    return classes


def instances(classes: NDArray[np.integer]) -> NDArray[np.int32]:
    """The label image (H, W) of classes: what is connected inside, with its rim put back."""
    return np.asarray(expand_labels(connected_components(classes == INTERIOR), _RIM), np.int32)


def class_loss(logits: Tensor, classes: Tensor) -> Tensor:
    """Cross-entropy + Dice, the mean over images and classes.

    Args:
        logits: (B, 3, H, W).
        classes: (B, H, W) int64.
    """
    wanted = one_hot(classes, CLASSES).permute(0, 3, 1, 2).float()
    found = logits.softmax(1)
    overlap, areas = (part.sum((2, 3)) for part in (found * wanted, found + wanted))
    dice = (2 * overlap + 1) / (areas + 1)
    return cross_entropy(logits, classes) + (1.0 - dice).mean()


@torch.inference_mode()
def classify(model: nn.Module, image: NDArray[np.uint8], method: Method) -> NDArray[np.uint8]:
    """The classes (H, W) of an image (H, W, 3) uint8, normalised and at detection scale."""
    batch = torch.from_numpy(pad(image, method)).permute(2, 0, 1)[None]
    classes = model(floats(batch, model))[0][0].argmax(0).to(torch.uint8)
    return np.asarray(classes.cpu()[: image.shape[0], : image.shape[1]])


def outline(image: Pixels, model: nn.Module, method: Method) -> Labels:
    """Outline every cell of an image, as ``app.predict.outline`` does with boxes.

    Args:
        image: (H, W, 3) uint8, normalised.
    """
    whole = magnify(image[:, :], scale_factor(image.shape, method))
    classes = np.zeros(whole.shape[:2], np.uint8)
    margin = (method.window - method.stride) // 2
    for x0, y0, x1, y1 in windows((whole.shape[0], whole.shape[1]), method):
        # Half of an overlap is this window's, the first half the one's before.
        top, left = (margin if start else 0 for start in (y0, x0))
        seen = classify(model, whole[y0:y1, x0:x1], method)
        classes[y0 + top : y1, x0 + left : x1] = seen[top:, left:]
    found = instances(classes)
    rows, columns = (
        np.minimum(((np.arange(n) + 0.5) * m / n).astype(np.int64), m - 1)
        for n, m in zip(image.shape[:2], found.shape, strict=True)
    )
    canvas = found[np.ix_(rows, columns)].astype(np.uint32)
    areas = np.bincount(canvas.ravel())
    return Labels(canvas, relabel(areas, areas, method.min_area, 0.0))
