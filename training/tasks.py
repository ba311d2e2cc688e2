"""The two models as tasks for one trainer: a model, samples to draw from, a loss, a score."""

from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn
from torch.utils.data import default_collate
from torchmetrics.detection import MeanAveragePrecision

from app.nms import nms
from app.settings import Method
from app.tile import pad, scale_factor
from training.augment.geometry import jitter_box, label_boxes, warp
from training.cells import SegmenterSamples, cell_crop
from training.config import DetectorConfig, SegmenterConfig
from training.data import Labelled
from training.errors import InputError
from training.judge import group_means
from training.losses import detection_loss, paired_iou, segmentation_loss
from training.models.detector import GRANULARITY, Detector
from training.models.segmenter import Segmenter
from training.samples import DetectorSamples, collate_boxes

Scalars = dict[str, Tensor]
_VALIDATION_SIDE = 1024  # the middle of a larger image is enough to watch a training run
_VALIDATION_CELLS = 40  # of an image
_MIN_SCORE = 0.01  # of a box that counts for mAP
_MAX_BOXES = 1000  # of an image, for mAP; COCO's own 100 are too few for cells
_AUXILIARY_WEIGHT = 0.4  # mmsegmentation's


class Task(Protocol):
    """What the trainer asks of a task."""

    config: Any
    model: nn.Module
    samples: Any

    def collate(self, items: list[Any]) -> Any:
        """A batch of samples."""

    def loss(self, model: nn.Module, batch: Any, step: int) -> Scalars:
        """Scalars by name; ``loss`` is the one for gradients."""

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Scores by name on the validation split; ``score`` is the one to choose by."""


class DetectorTask:
    """YOLOX on crops; scored by the F1 of boxes at IoU 0.5, mean over images."""

    def __init__(
        self,
        config: DetectorConfig,
        method: Method,
        train: list[Labelled],
        val: list[Labelled],
        unlabelled: Sequence[Labelled] = (),
    ) -> None:
        self.config = config
        self.method = method
        self.model: nn.Module = Detector(config.size)
        self.samples = DetectorSamples(train, list(unlabelled), config, method)
        self.val = [(v.modality, *_middle_boxes(v, method)) for v in val]

    def collate(self, items: list[Any]) -> Any:
        return collate_boxes(items)

    def loss(self, model: nn.Module, batch: Any, step: int) -> Scalars:
        boxes, ignored = (list(flat.split(counts.tolist())) for flat, counts in batch[1:])
        images, boxes, ignored = self._scaled(floats(batch[0], model), boxes, ignored, step)
        predictions = model(images)
        shape = (images.shape[-2], images.shape[-1])
        use_l1 = step >= self.samples.last_start
        with torch.autocast(images.device.type, enabled=False):
            return detection_loss(predictions, boxes, shape, use_l1=use_l1, ignored=ignored)

    def _scaled(
        self, images: Tensor, boxes: list[Tensor], ignored: list[Tensor], step: int
    ) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """The whole batch at a size that is drawn for the step (YOLOX, section 2.1)."""
        low, high = self.config.multi_scale
        rng = np.random.default_rng([self.config.seed, step, 2])
        size = round(images.shape[-1] * rng.uniform(low, high) / GRANULARITY) * GRANULARITY
        if size == images.shape[-1]:
            return images, boxes, ignored
        factor = size / images.shape[-1]
        scaled = nn.functional.interpolate(images, (size, size), mode="bilinear")
        return scaled, [b * factor for b in boxes], [b * factor for b in ignored]

    def validate(self, model: nn.Module) -> dict[str, float]:
        scores: list[tuple[str, float]] = []
        # One process has all images and must not wait for the others'.
        precision = MeanAveragePrecision(
            max_detection_thresholds=[1, 100, _MAX_BOXES], sync_on_compute=False
        )
        precision.warn_on_many_detections = False
        for modality, image, truth in self.val:
            batch = torch.from_numpy(image).permute(2, 0, 1)[None]
            predicted = model(floats(batch, model))
            score = (predicted.objectness.sigmoid() * predicted.classes[..., 0].sigmoid())[0].cpu()
            found = score > _MIN_SCORE
            boxes, score = predicted.boxes[0].cpu()[found].numpy(), score[found].numpy()
            best = nms(boxes, score, self.method.nms_iou)
            boxes, score = boxes[best], score[best]
            f1 = box_f1(boxes[score > self.method.score_threshold], truth)
            scores.append((modality, f1))
            precision.update(
                [{**_named(boxes), "scores": torch.from_numpy(score)}], [_named(truth)]
            )
        precisions = precision.compute()
        return {
            **means(scores),
            "mAP": float(precisions["map"]),
            "mAP50": float(precisions["map_50"]),
            "mAP75": float(precisions["map_75"]),
        }


class SegmenterTask:
    """U-Net on crops of cells; scored by the IoU of masks, mean over cells."""

    def __init__(
        self,
        config: SegmenterConfig,
        method: Method,
        train: list[Labelled],
        val: list[Labelled],
        unlabelled: Sequence[Labelled] = (),
    ) -> None:
        self.config = config
        self.model: nn.Module = Segmenter(config.size)
        self.samples = SegmenterSamples(train, list(unlabelled), config, method)
        self.val = [(v.modality, *_cells(v, method)) for v in val if len(v.ids)]
        if not self.val:
            raise InputError(
                "no image of split val has a cell in its label; give labels with cells"
            )

    def collate(self, items: list[Any]) -> Any:
        return default_collate(items)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor], step: int) -> Scalars:
        images, masks = batch
        main, *auxiliary = (logits.float() for logits in model(floats(images, model)))
        masks = masks.to(main)
        loss = segmentation_loss(main, masks)
        for logits in auxiliary:
            small = nn.functional.avg_pool2d(masks[:, None], masks.shape[-1] // logits.shape[-1])
            loss = loss + _AUXILIARY_WEIGHT * segmentation_loss(logits, small[:, 0])
        return {"loss": loss}

    def validate(self, model: nn.Module) -> dict[str, float]:
        scores: list[tuple[str, float]] = []
        for modality, images, masks in self.val:
            logits = model(floats(torch.from_numpy(images), model))[0].float().cpu()
            found = (logits[:, 1] > logits[:, 0]).numpy()
            overlap = (found & masks).sum((1, 2))
            iou = overlap / np.maximum((found | masks).sum((1, 2)), 1)
            scores += [(modality, float(value)) for value in iou]
        return means(scores)


def box_f1(found: NDArray[np.float32], truth: NDArray[np.float32]) -> float:
    """F1 of boxes (N, 4) and (M, 4) xyxy, matched one to one at IoU 0.5; 1 if both are empty."""
    if not len(found) and not len(truth):
        return 1.0
    iou = paired_iou(torch.from_numpy(found)[:, None], torch.from_numpy(truth)[None]).numpy()
    rows, columns = linear_sum_assignment(iou >= 0.5, maximize=True)
    return 2 * int((iou[rows, columns] >= 0.5).sum()) / (len(found) + len(truth))


def _named(boxes: NDArray[np.float32]) -> dict[str, Tensor]:
    """Boxes of the one class, as torchmetrics wants them."""
    return {"boxes": torch.from_numpy(boxes), "labels": torch.zeros(len(boxes), dtype=torch.int64)}


def floats(images: Tensor, model: nn.Module) -> Tensor:
    """Images (B, C, H, W) of any dtype as a model takes them: float32, on its device."""
    device = next(model.parameters()).device
    return (
        images.to(device, non_blocking=True).float().contiguous(memory_format=torch.channels_last)
    )


def means(scores: Sequence[tuple[str, float]]) -> dict[str, float]:
    """Of scores, each with its modality, the mean of all as ``score``, and that by modality."""
    return {"score": fmean(value for _, value in scores), **group_means(scores)}


def middle(
    sample: Labelled, method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]:
    """The middle of an image at detection scale, its label image, and the pixels of each id."""
    scale = scale_factor(sample.label.shape, method)
    height, width = (min(round(side * scale), _VALIDATION_SIDE) for side in sample.label.shape)
    centre = np.array(sample.label.shape[::-1]) / 2 - 0.5
    offset = np.array([width, height]) / 2 - 0.5 - scale * centre
    affine = np.array([[scale, 0.0, offset[0]], [0.0, scale, offset[1]]])
    image, label = warp(sample.image, sample.label, affine, (height, width), method.pad_value)
    return image, label, sample.areas * scale**2


def _middle_boxes(
    sample: Labelled, method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The middle of an image at detection scale, padded, and the boxes in it."""
    image, label, areas = middle(sample, method)
    return pad(image, method), label_boxes(label, areas)[0]


def moved_boxes(sample: Labelled) -> list[tuple[int, NDArray[np.float32]]]:
    """Some cells of an image, by their place in ``ids``, each with its jittered box (4,)."""
    rng = np.random.default_rng(len(sample.ids))
    chosen: Iterable[int] = rng.permutation(len(sample.ids))[:_VALIDATION_CELLS]
    return [(n, jitter_box(rng, sample.boxes[n])) for n in chosen]


def _cells(sample: Labelled, method: Method) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Some cells of an image, with jittered boxes: (N, 3, S, S) uint8 and (N, S, S) masks."""
    pairs = [cell_crop(sample, n, box, method) for n, box in moved_boxes(sample)]
    images = np.stack([image.transpose(2, 0, 1) for image, _ in pairs])
    return images, np.stack([mask >= 0.5 for _, mask in pairs])
