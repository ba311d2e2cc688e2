"""The whole path of an image, top to bottom: from its file to one outlined instance a cell."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .detect import detect
from .files.arrays import Pixels
from .files.boxes import check_boxes
from .files.label_stack import LabelWriter
from .files.labels import Canvas, Labels
from .files.open import channel_names, open_image, pixel_size, resident_bytes
from .files.pixel_size import Size
from .files.stacks import planes_of
from .filters import Filters
from .graphs import Graphs, open_graphs
from .levels import survey
from .look import Wanted
from .normalise import Normalised
from .outcome import Outcome, Outlined, Prediction
from .overrides import Asked, for_image
from .paste import Mask, Visit, paste, relabel, visits
from .request import Also, Request
from .segment import round_boxes, segment, segment_large
from .session import Device, Precision, Run
from .settings import Method
from .stack import segment_planes
from .stopwatch import Progress, Stopwatch, untold
from .trial import choose_look, known_boxes

Kept = Callable[[NDArray[np.int64], Canvas], NDArray[np.bool_]]
BLOCK = 2048  # side of the part of a label image that is made at once, pixels


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
        graphs: those of the arguments before, where they are open already.

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
        graphs: Graphs | None = None,
    ) -> None:
        graphs = graphs or open_graphs(weights, device, threads, precision)
        self.method, self.resources = graphs.settings.method, graphs.settings.resources
        self.detector, self.segmenter = graphs.detector, graphs.segmenter
        self.graphs, self.provider, self.on_cpu = graphs.files, graphs.provider, graphs.on_cpu
        self.without_cuda = graphs.without_cuda  # why not, where it was tried
        self.wanted, self.channels = wanted or Wanted(), channels

    def predict_file(
        self,
        source: Path,
        target: Path,
        request: Request | None = None,
        max_bytes: int | None = None,
        progress: Progress = untold,
        also: Also | None = None,
    ) -> Outcome:
        """Read an image, segment it, write its label image; of a stack, each plane by itself.

        Args:
            source: the image.
            target: the label image; its folder also takes scratch files of large images and stacks.
            request: how it is read, and which cells are kept.
            max_bytes: memory for the image and the detector's boxes; None for no limit.
            progress: is told how far it is; of a stack, how many "planes" are done.
            also: makes what takes the cells of each plane, to write more than the label image.

        Raises:
            ImageError: the image can't be read, or not be shown as it is wanted.
            OSError: the label image can't be written.
            MemoryError: it needs more memory than there is.
        """
        watch, request = Stopwatch(progress), request or Request()
        with watch("read"):
            opened = open_image(source, request.stack, max_bytes)
        with opened as image:
            grid, planes = planes_of(image)
            left = None if max_bytes is None else max(0, max_bytes - resident_bytes(image))
            names = channel_names(image)
            given = self.channels, self.wanted, self.method
            wanted = for_image(source, image.shape, names, *given)
            size = request.pixel_size or pixel_size(source, image)
            request.filters.check(source, size)
            check_boxes(source, request.boxes, image.shape)
            asked = left, wanted, request.filters, size, request.boxes
            more = also(names, size, grid) if also else nullcontext()
            with LabelWriter(target, grid, size) as writer, more as taker:
                done = segment_planes(
                    *(planes, grid, writer, taker, watch),
                    lambda plane, canvas: self.predict(plane, canvas, watch, *asked),
                )
            height, width, channels = image.shape
            about = height, width, channels, str(image.dtype), size
        count, choice = sum(plane.instances for plane in done), done[0].choice
        several = (grid, tuple(done)) if grid.axes else ()
        return Outcome(*about, count, names, choice, watch.seconds, *several)

    def predict(
        self,
        image: Pixels,
        canvas: Canvas | None = None,
        watch: Stopwatch | None = None,
        max_bytes: int | None = None,
        wanted: Wanted | None = None,
        filters: Filters | None = None,
        pixel_size: Size | None = None,
        boxes: NDArray[np.float32] | None = None,
    ) -> Prediction:
        """Outline every cell of an image; see the function of this name."""
        batches = 1 if self.on_cpu else self.resources.window_batch, self.resources.crop_batch
        graphs = self.detector, self.segmenter, self.method
        return predict(
            image,
            *graphs,
            *batches,
            canvas=canvas,
            watch=watch,
            max_bytes=max_bytes,
            wanted=wanted,
            filters=filters,
            pixel_size=pixel_size,
            boxes=boxes,
        )


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
    filters: Filters | None = None,
    pixel_size: Size | None = None,
    boxes: NDArray[np.float32] | None = None,
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
        watch: takes the time of each stage, and is told how far they are; rescaling, and reading
            where it is done in parts, belong to the stage that asks. "look" has the detection where
            the image was tried as a whole.
        max_bytes: memory for the detector's boxes; None for no limit.
        wanted: how the image is shown, where that is not to be chosen.
        filters: which cells are kept; by default all.
        pixel_size: (y, x) micrometres, for filters.
        boxes: (N, 4) xyxy, inside the image, whose cells are wanted; by default they are detected.

    Raises:
        MemoryError: there is not enough.
    """
    watch, wanted = watch or Stopwatch(), replace(wanted or Wanted(), cells=boxes is not None)
    with watch("survey"):
        seen = survey(image)
    with watch("look"):
        choice = choose_look(image, seen, detector, method, wanted)
    look = choice.look
    normal = Normalised(image, look.limits, look.channels)
    with watch("detect"):
        found = known_boxes(choice, boxes)
        if found is None:
            place = look.magnification, window_batch, watch.progress, choice.ground
            found = detect(normal, detector, method, max_bytes, *place)
    places, scores = found

    def kept(areas: NDArray[np.int64], canvas: Canvas) -> NDArray[np.bool_]:
        return (filters or Filters()).kept(areas, scores, canvas, pixel_size)

    how = crop_batch, canvas, watch.progress, kept
    with watch("segment"):
        outlined = outline(normal, places, segmenter, method, *how)
    labels, stay = outlined.labels, outlined.labels.numbers[1:] > 0
    return Prediction(labels, places[stay], scores[stay], outlined.confidences[stay], choice)


def outline(
    image: Pixels,
    boxes_xyxy: NDArray[np.float32],
    segmenter: Run,
    method: Method,
    batch: int = 64,
    canvas: Canvas | None = None,
    progress: Progress = untold,
    kept: Kept | None = None,
) -> Outlined:
    """From boxes to the label image.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes_xyxy: (N, 4) float32, pixels of the image, best first.
        segmenter: as ``segment`` wants it.
        method: every number on the way.
        batch: crops that go through the segmenter together.
        canvas: as in ``predict``.
        progress: is told how many cells are done.
        kept: takes the pixels of each id and the canvas, and tells which ids are kept.
    """
    shape = (image.shape[0], image.shape[1])
    canvas = np.zeros(shape, np.uint32) if canvas is None else canvas
    boxes = round_boxes(boxes_xyxy, shape, method.crop_margin)
    areas, masks, confidences = draw(image, boxes, segmenter, method, batch, canvas, progress)
    stay = kept(areas, canvas) if kept else None
    numbers = relabel(areas, masks, method.min_area, method.min_visible, stay)
    return Outlined(Labels(canvas, numbers), confidences)


def draw(
    image: Pixels,
    boxes: NDArray[np.int64],
    segmenter: Run,
    method: Method,
    batch: int,
    canvas: Canvas,
    progress: Progress = untold,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Segment each box once and paste its mask, block by block, beside the next block's.

    Args:
        image: (H, W, 3) uint8, normalised.
        boxes: (N, 4) whole pixels, best first.
        canvas: (H, W) uint32 zeros; mask number i is pasted with id i + 1.
        progress: is told how many boxes are done.

    Returns:
        (N + 1,) pixels of each id; the same of its mask, before others took their pixels; and (N,)
        the ``confidence`` of each mask.
    """
    areas, whole = np.zeros((2, len(boxes) + 1), np.int64)
    confidences = np.zeros(len(boxes), np.float32)
    masks: dict[int, Mask] = {}
    done = 0
    progress("cells", done, len(boxes))
    large = (boxes[:, 2:] - boxes[:, :2]).max(1) > BLOCK
    of_large = segment_large(image, boxes[large], segmenter, method, batch)
    for box, (large_mask, sure) in zip(np.flatnonzero(large).tolist(), of_large, strict=True):
        masks[box], confidences[box] = large_mask, sure
        whole[box + 1] = large_mask.area()

    def paste_block(visit: Visit, here: list[Mask]) -> None:
        label = paste(here, boxes[visit.members], visit.members + 1, visit.window)
        y0, x0, y1, x1 = visit.window
        canvas[y0:y1, x0:x1] = label
        areas[:] += np.bincount(label.ravel(), minlength=len(areas))

    with ThreadPoolExecutor(1) as beside:
        last: Future[None] | None = None
        for visit in visits(boxes, canvas.shape, BLOCK):
            new = visit.new[~large[visit.new]]
            of_new = segment(image, boxes[new], segmenter, method, batch)
            for box, (mask, sure) in zip(new.tolist(), of_new, strict=True):
                masks[box], confidences[box] = mask, sure
                whole[box + 1] = np.count_nonzero(mask)
            if last:
                last.result()  # no more than one block waits with its masks
            here = [masks[box] for box in visit.members.tolist()]
            last = beside.submit(paste_block, visit, here)
            for box in visit.done.tolist():
                del masks[box]
            done += len(visit.done)
            progress("cells", done, len(boxes))
        if last:
            last.result()
    return areas, whole, confidences
