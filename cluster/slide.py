# mypy: allow-untyped-calls
"""Outline every cell of a slide on the workers of a Dask cluster.

    python -m cluster.slide SCHEDULER SLIDE OUTPUT [options]

SCHEDULER is its address, tcp://HOST:8786. The workers must see the file by the same path; what is
written, and the options, are those of python -m app SLIDE OUTPUT (and --threads 1 unless it is
given, for each thread of a worker). A folder of slides is done one after the other.
"""

import logging
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from distributed import Future
from numpy.typing import NDArray

from app.detect import Boxes, gather, magnify_for, merge, parts_of
from app.files.arrays import ImageError, Pixels
from app.files.labels import Canvas, Labels
from app.files.pixel_size import Size
from app.filters import Filters
from app.look import Look, Wanted
from app.normalise import Normalised
from app.outcome import Outcome, Prediction
from app.paste import Visit, relabel, visits
from app.predict import BLOCK
from app.request import Also, Request
from app.running.plan import Job
from app.running.work import Worker
from app.segment import round_boxes
from app.stopwatch import Progress, Stopwatch, untold
from app.tile import windows
from app.trial import Choice, known_boxes

from .parts import NO_CELLS, Cells, Slide, choose, draw, find, label_of, outline
from .run import main
from .workers import Remote

logger = logging.getLogger("app")  # whose warnings are recorded with the image
Item = TypeVar("Item")
_AHEAD = 8  # parts that are under way for each thread of the workers, so that none waits
_SOON = 1  # priority of a block's drawing: until then workers hold its masks


class SlidePredictor(Remote):
    """As ``Predictor``, but the parts of each image are done by all workers together.

    What needs all parts at once, suppression, the numbers of the cells and the file, is done here.
    """

    slide: Slide  # the one that is at work

    def predict_file(
        self,
        source: Path,
        target: Path,
        request: Request | None = None,
        max_bytes: int | None = None,
        progress: Progress = untold,
        also: Also | None = None,
    ) -> Outcome:
        """As ``Predictor`` does."""
        request = request or Request()
        if request.stack == "each":
            raise ImageError(
                f"{source}: --stack each is not for slides; choose with --stack max or NUMBER, or "
                "take cluster.folder, where a worker does the planes of an image"
            )
        self.slide = Slide(source.resolve(), request.stack, self.networks)
        return super().predict_file(source, target, request, max_bytes, progress, also)

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
        """As the function ``predict``; "look" has the survey."""
        watch, wanted, filters = watch or Stopwatch(), wanted or Wanted(), filters or Filters()
        canvas = np.zeros(image.shape[:2], np.uint32) if canvas is None else canvas
        with watch("look"):
            choice: Choice = self._told(self.connection.submit(choose, self.slide, wanted))
        with watch("detect"):
            places, scores = self._boxes(image, choice, boxes, max_bytes, watch.progress)
        with watch("segment"):
            shape = image.shape[0], image.shape[1]
            whole_boxes = round_boxes(places, shape, self.method.crop_margin)
            drawn = self._draw(choice.look, whole_boxes, canvas, watch.progress)
            areas, masks, confidences = drawn
            kept = filters.kept(areas, scores, canvas, pixel_size)
            numbers = relabel(areas, masks, self.method.min_area, self.method.min_visible, kept)
        stay = numbers[1:] > 0
        labels = Labels(canvas, numbers)
        return Prediction(labels, places[stay], scores[stay], confidences[stay], choice)

    def _boxes(
        self,
        image: Pixels,
        choice: Choice,
        given: NDArray[np.float32] | None,
        max_bytes: int | None,
        progress: Progress,
    ) -> Boxes:
        """The boxes that are given, or that the look has found, or that are detected now."""
        known, look = known_boxes(choice, given), choice.look
        if known is not None:
            return known
        normal = Normalised(image, look.limits, look.channels)
        magnified = magnify_for(normal, self.method, look.magnification)
        places = windows((magnified.shape[0], magnified.shape[1]), self.method)
        parts = parts_of(places, magnified, image.shape, self.method, choice.ground)
        batch = 1 if self.on_cpu else self.resources.window_batch
        # All parts of a window in one task, as each opens the file.
        firsts = np.unique(parts.window, return_index=True)[1]
        portions = np.split(parts.places, firsts[batch::batch])
        tasks = (
            (None, self.connection.submit(find, self.slide, look, portion)) for portion in portions
        )
        found = (boxes for _, task in self._in_order(tasks) for boxes in self._tell(task))
        by_part = gather(found, parts, max_bytes, progress)
        return merge(by_part, parts, places, magnified, image.shape, self.method)

    def _draw(
        self, look: Look, boxes: NDArray[np.int64], canvas: Canvas, progress: Progress
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """As ``app.predict.draw``."""
        areas, whole = np.zeros((2, len(boxes) + 1), np.int64)
        confidences = np.zeros(len(boxes), np.float32)
        done = 0
        progress("cells", done, len(boxes))
        large = (boxes[:, 2:] - boxes[:, :2]).max(1) > BLOCK
        source: Future[Any] | Cells = NO_CELLS
        if large.any():
            source = self.connection.submit(
                outline, self.slide, look, boxes[large].astype(np.int32), True
            )
            (cells,) = self.connection.results_of([source], self.slide.path)
            self._warn(cells.warnings)
            whole[1:][large], confidences[large] = cells.areas, cells.confidences
        for (visit, new), drawn in self._in_order(
            self._blocks(look, boxes, large, source, canvas.shape)
        ):
            self._warn(drawn.warnings)
            whole[new + 1], confidences[new] = drawn.areas, drawn.confidences
            label = label_of(drawn, visit.window)
            y0, x0, y1, x1 = visit.window
            canvas[y0:y1, x0:x1] = label
            areas += np.bincount(label.ravel(), minlength=len(areas))
            done += len(visit.done)
            progress("cells", done, len(boxes))
        return areas, whole, confidences

    def _blocks(
        self,
        look: Look,
        boxes: NDArray[np.int64],
        large: NDArray[np.bool_],
        of_large: Future[Any] | Cells,
        shape: tuple[int, ...],
    ) -> Iterator[tuple[tuple[Visit, NDArray[np.int64]], Future[Any]]]:
        """Each visit, the boxes that are outlined for it, and its block of the label image.

        Every mask is made once, with the others of the block in which it is met first, as on one
        machine; later blocks have it from the worker that made it.
        """
        masks: dict[int, tuple[Future[Any] | Cells, int]] = {
            box: (of_large, place) for place, box in enumerate(np.flatnonzero(large).tolist())
        }
        small = boxes.astype(np.int32)
        for visit in visits(boxes, shape, BLOCK):
            new = visit.new[~large[visit.new]]
            own: Future[Any] | Cells = NO_CELLS
            if len(new):
                own = self.connection.submit(outline, self.slide, look, small[new], False)
            masks |= {box: (own, place) for place, box in enumerate(new.tolist())}
            sources, numbers, where = [own], {id(own): 0}, []
            for source, place in (masks[box] for box in visit.members.tolist()):
                if id(source) not in numbers:
                    numbers[id(source)] = len(sources)
                    sources.append(source)
                where.append((numbers[id(source)], place))
            members = visit.window, small[visit.members], visit.members + 1, sources, where
            yield (visit, new), self.connection.submit(draw, *members, priority=_SOON)
            for box in visit.done.tolist():
                del masks[box]

    def _in_order(self, parts: Iterable[tuple[Item, Future[Any]]]) -> Iterator[tuple[Item, Any]]:
        """The result of each part, in order; few more than the workers can do are under way."""
        waiting: deque[tuple[Item, Future[Any]]] = deque()
        for part in parts:
            waiting.append(part)
            if len(waiting) > _AHEAD * self.connection.threads:
                yield from self._first_of(waiting)
        while waiting:
            yield from self._first_of(waiting)

    def _first_of(self, waiting: deque[tuple[Item, Future[Any]]]) -> Iterator[tuple[Item, Any]]:
        """The first, and those after it that have ended: to ask for each takes ten milliseconds."""
        ready = [waiting.popleft()]
        while waiting and waiting[0][1].done():
            ready.append(waiting.popleft())
        items, futures = zip(*ready, strict=True)
        yield from zip(items, self.connection.results_of(futures, self.slide.path), strict=True)

    def _told(self, future: Future[Any]) -> Any:
        return self._tell(*self.connection.results_of([future], self.slide.path))

    def _tell(self, part: tuple[Any, list[str]]) -> Any:
        """What a worker has found; what it warned of is warned of here."""
        result, warnings = part
        self._warn(warnings)
        return result

    def _warn(self, warnings: list[str]) -> None:
        for text in warnings:
            logger.warning("%s", text)


def do_slides(work: Worker, jobs: list[Job]) -> Iterator[Any]:
    """Each slide alone."""
    return (record for job in jobs if (record := work(job)) is not None)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], "cluster.slide", __doc__ or "", SlidePredictor, Worker, do_slides))
