"""The whole path of an image, top to bottom: from its file to one outlined instance a cell."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .detect import detect
from .files.arrays import Pixels
from .files.atomic import scratch_path
from .files.labels import Canvas, Labels, open_canvas, write_label
from .files.open import channel_names, open_image, resident_bytes
from .levels import survey
from .look import Wanted
from .normalise import Normalised
from .overrides import Asked, for_image
from .paste import paste, relabel, visits
from .segment import round_boxes, segment
from .session import Device, DeviceError, Precision, Run, candidates, open_session, provider, runner
from .settings import Method, SettingsError, graph_path, load_settings
from .stopwatch import Stopwatch
from .trial import Choice, choose_look

logger = logging.getLogger(__name__)

_BLOCK = 2048  # side of the part of a label image that is made at once, pixels


@dataclass(frozen=True)
class Outcome:
    """What is worth knowing of an image and its cells."""

    height: int
    width: int
    channels: int
    dtype: str
    instances: int
    channel_names: tuple[str, ...]
    """Of all its channels; none where the file has none."""
    choice: Choice
    """How it was shown to the networks."""
    seconds: dict[str, float]
    """By stage."""


class Predictor:
    """Both graphs and their settings, loaded once for any number of images, also several at once.

    Args:
        weights: folder with ``settings.json`` and the graphs it names.
        device: ``auto`` takes CUDA where it works and the CPU elsewhere.
        threads: of the CPU, for one operator.
        wanted: how images are shown, where that is not to be chosen.
        channels: the ones that are shown, by number from 0 or by name, instead of those in
            ``wanted``.
        precision: of the graphs, as in ``candidates``.

    Raises:
        SettingsError: the weights are not what the settings say, or lack graphs of the precision.
        DeviceError: what was asked for is not there.
    """

    def __init__(
        self,
        weights: Path,
        device: Device,
        threads: int,
        wanted: Wanted | None = None,
        channels: Asked | None = None,
        precision: Precision = "auto",
    ) -> None:
        settings = load_settings(weights)
        self.method, self.resources = settings.method, settings.resources
        models = settings.detector, settings.segmenter
        self.without_cuda: str | None = None  # why not, where it was tried
        *others, last = candidates(device, precision)
        if precision == "int8" and not all("vnni" in model for model in models):
            raise SettingsError(
                f"{weights}: has no graphs of 8-bit integers; make them (python -m "
                "training.quantise), or use --precision float"
            )
        for processor in (*others, last):
            paths = [graph_path(weights, model, processor) for model in models]
            try:
                detector, segmenter = (
                    open_session(path, processor, threads, self.resources.gpu_memory)
                    for path in paths
                )
                break
            except DeviceError as error:
                if processor == last:
                    raise DeviceError(f"--device cuda: {error}, or use --device cpu") from error
                self.without_cuda = str(error)
        self.on_cpu = processor != "cuda"
        self.wanted, self.channels = wanted or Wanted(), channels
        self.provider = provider(detector)
        self.graphs = [model.get(processor, model["cpu"]) for model in models]
        self.detector, self.segmenter = runner(detector), runner(segmenter)

    def predict_file(
        self, source: Path, target: Path, stack: str = "refuse", max_bytes: int | None = None
    ) -> Outcome:
        """Read an image, segment it, write its label image.

        Args:
            source: the image.
            target: the label image; its folder also takes scratch files of large images.
            stack: see ``open_image``.
            max_bytes: memory for the image and the detector's boxes; None for no limit.

        Raises:
            ImageError: the image can't be read, or not be shown as it is wanted.
            OSError: the label image can't be written.
            MemoryError: it needs more memory than there is.
        """
        watch = Stopwatch()
        with watch("read"):
            opened = open_image(source, stack, max_bytes)
        with opened as image, open_canvas(image.shape[:2], scratch_path(target, "canvas")) as blank:
            left = None if max_bytes is None else max(0, max_bytes - resident_bytes(image))
            names = channel_names(image)
            given = self.channels, self.wanted, self.method
            wanted = for_image(source, image.shape, names, *given)
            found = self.predict(image, blank, watch, left, wanted)
            with watch("write"):
                write_label(target, found.labels)
            height, width, channels = image.shape
            dtype = str(image.dtype)
        count, choice = found.labels.count, found.choice
        return Outcome(height, width, channels, dtype, count, names, choice, watch.seconds)

    def predict(
        self,
        image: Pixels,
        canvas: Canvas | None = None,
        watch: Stopwatch | None = None,
        max_bytes: int | None = None,
        wanted: Wanted | None = None,
    ) -> "Prediction":
        """Outline every cell of an image; see the function of this name."""
        batches = 1 if self.on_cpu else self.resources.window_batch, self.resources.crop_batch
        graphs = self.detector, self.segmenter, self.method
        return predict(image, *graphs, *batches, canvas, watch, max_bytes, wanted)


@dataclass(frozen=True)
class Prediction:
    """The cells of an image, and how it was shown to find them."""

    labels: Labels
    """0 is background, 1 to N are the cells, the most certain first."""
    boxes: NDArray[np.float32]
    """(N, 4) xyxy of each cell, pixels of the image, as the detector has found it."""
    scores: NDArray[np.float32]
    """(N,) how sure it is of each, 0-1."""
    choice: Choice


def predict(
    image: Pixels,
    detector: Run,
    segmenter: Run,
    method: Method,
    window_batch: int = 1,
    crop_batch: int = 64,
    canvas: Canvas | None = None,
    watch: Stopwatch | None = None,
    max_bytes: int | None = None,
    wanted: Wanted | None = None,
) -> Prediction:
    """Outline every cell of an image.

    Args:
        image: (H, W, C), any integer or float dtype.
        detector: as ``detect`` wants it.
        segmenter: as ``segment`` wants it.
        method: every number on the way.
        window_batch: windows that go through the detector together.
        crop_batch: crops that go through the segmenter together.
        canvas: (H, W) uint32 zeros, in which the label image is made; by default in memory.
        watch: takes the time of each stage; rescaling, and reading where it is done in parts,
            belong to the stage that asks. "look" has the detection where the image was tried as a
            whole.
        max_bytes: memory for the detector's boxes; None for no limit.
        wanted: how the image is shown, where that is not to be chosen.

    Raises:
        MemoryError: there is not enough.
    """
    watch, wanted = watch or Stopwatch(), wanted or Wanted()
    with watch("survey"):
        seen = survey(image)
    with watch("look"):
        choice = choose_look(image, seen, detector, method, wanted)
    look, found = choice.look, choice.found
    normal = Normalised(image, look.limits, look.channels)
    with watch("detect"):
        if not look.channels:
            logger.warning("nothing stands out of the noise: no cell is looked for")
            found = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        elif found is None:
            found = detect(normal, detector, method, max_bytes, look.magnification, window_batch)
    with watch("segment"):
        labels = outline(normal, found[0], segmenter, method, crop_batch, canvas)
    boxes, scores = (each[labels.numbers[1:] > 0] for each in found)
    return Prediction(labels, boxes, scores, choice)


def outline(
    image: Pixels,
    boxes_xyxy: NDArray[np.float32],
    segmenter: Run,
    method: Method,
    batch: int = 64,
    canvas: Canvas | None = None,
) -> Labels:
    """From boxes to the label image.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes_xyxy: (N, 4) float32, pixels of the image, best first.
        segmenter: as ``segment`` wants it.
        method: every number on the way.
        batch: crops that go through the segmenter together.
        canvas: as in ``predict``.
    """
    shape = (image.shape[0], image.shape[1])
    canvas = np.zeros(shape, np.uint32) if canvas is None else canvas
    boxes = round_boxes(boxes_xyxy, shape, method.crop_margin)
    areas, masks = draw(image, boxes, segmenter, method, batch, canvas)
    return Labels(canvas, relabel(areas, masks, method.min_area, method.min_visible))


def draw(
    image: Pixels,
    boxes: NDArray[np.int64],
    segmenter: Run,
    method: Method,
    batch: int,
    canvas: Canvas,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Segment each box once and paste its mask, block by block.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes: (N, 4) whole pixels, best first.
        canvas: (H, W) uint32 zeros; mask number i is pasted with id i + 1.

    Returns:
        (N + 1,) pixels of each id; the same of its mask, before others took their pixels.
    """
    areas, whole = np.zeros((2, len(boxes) + 1), np.int64)
    masks: dict[int, NDArray[Any]] = {}
    for visit in visits(boxes, canvas.shape, _BLOCK):
        new = segment(image, boxes[visit.new], segmenter, method, batch)
        for box, mask in zip(visit.new.tolist(), new, strict=True):
            masks[box] = mask
            whole[box + 1] = np.count_nonzero(mask)
        here = [masks[box] for box in visit.members.tolist()]
        label = paste(here, boxes[visit.members], visit.members + 1, visit.window)
        y0, x0, y1, x1 = visit.window
        canvas[y0:y1, x0:x1] = label
        areas += np.bincount(label.ravel(), minlength=len(areas))
        for box in visit.done.tolist():
            del masks[box]
    return areas, whole
