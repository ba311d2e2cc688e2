"""The planes of a file, segmented one after the other; most files have one."""

from collections.abc import Callable, Iterator

from .files.arrays import ImageError, Pixels
from .files.atomic import scratch_path
from .files.label_stack import LabelWriter
from .files.labels import Canvas, open_canvas
from .files.stacks import Grid
from .log import warnings_collected
from .outcome import Plane, Prediction
from .request import PlaneTaker
from .stopwatch import Progress, Stopwatch, untold

# Segments an image in an empty canvas.
Predict = Callable[[Pixels, Canvas], Prediction]


def segment_planes(
    planes: Iterator[Pixels],
    grid: Grid,
    writer: LabelWriter,
    taker: PlaneTaker | None,
    watch: Stopwatch,
    predict: Predict,
) -> list[Plane]:
    """Segment the planes of a file and write its label image.

    Args:
        planes: at the positions of the grid.
        grid: of the planes.
        writer: takes their label images.
        taker: takes all that is known of their cells.
        watch: takes the time of writing, and of a stack is told how many "planes" are done.
        predict: segments one of them.

    Raises:
        ImageError: a plane can't be read; of a stack it says which.
        OSError: the label image can't be written.
    """
    total = len(grid.positions)
    tell: Progress = untold
    if grid.axes:  # what a plane tells of its windows says little of a stack
        tell, watch.progress = watch.progress, untold
    done: list[Plane] = []
    tell("planes", 0, total)
    try:
        for plane in planes:
            done.append(_segment(plane, writer, taker, watch, predict))
            tell("planes", len(done), total)
    except ImageError as error:
        if not grid.axes:
            raise
        raise ImageError(f"{error} (plane {grid.place(len(done))})") from error
    with watch("write"):
        writer.finish()
    return done


def _segment(
    image: Pixels,
    writer: LabelWriter,
    taker: PlaneTaker | None,
    watch: Stopwatch,
    predict: Predict,
) -> Plane:
    scratch = scratch_path(writer.path, "canvas")
    with warnings_collected() as warnings, open_canvas(image.shape[:2], scratch) as canvas:
        found = predict(image, canvas)
        with watch("write"):
            writer.add(found.labels)
        if taker is not None:
            with watch("results"):
                taker.add(image, found)
    # The boxes of many planes would add up.
    return Plane(found.labels.count, found.choice._replace(found=None), tuple(warnings))
