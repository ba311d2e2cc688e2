"""One image of a run: claimed, segmented, recorded; whatever is wrong with it."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..files.arrays import ImageError, size_text
from ..files.boxes import NO_BOXES, Boxes
from ..files.labels import RESULT_FILES, result_path
from ..log import warnings_collected
from ..predict import Predictor
from ..request import Also, Request
from ..settings import sha256
from ..stopwatch import Progress, untold
from .journal import DONE, FAILED, STARTED, Record
from .memory import peak_memory
from .plan import Job
from .records import outcome_record
from .remedies import explain, may_pass
from .sharing import Share, TakenError

logger = logging.getLogger(__name__)

# Runs that may die at an image before it fails. One that dies may do so of something else, and of
# several images at work only one is to blame: so the second time each of them is alone.
_MAX_DEATHS = 2


class Worker:
    """Does the images of a run; several threads may call it at once.

    Args:
        predictor: that segments them.
        share: the run's part in the output folder.
        config: hash of all that the outputs depend on.
        request: how images are read, and which cells are kept.
        results: what is written beside the label images, by the names on the command line.
        max_bytes: memory for one image that is alone at work.
        inside: what is told how far the image of a name is that is alone at work.
        boxes: by the image's name, where the detector is not asked.

    Attributes:
        left: the images that other runs have claimed, or have died at: they are done last.
        begun: status of an image at work.
    """

    begun = STARTED

    def __init__(
        self,
        predictor: Predictor,
        share: Share,
        config: str,
        request: Request,
        results: frozenset[str],
        max_bytes: int,
        inside: Callable[[str], Progress],
        boxes: Boxes | None = None,
    ) -> None:
        self.predictor, self.share, self.config = predictor, share, config
        self.request, self.results = request, results
        self.max_bytes, self.inside, self.boxes = max_bytes, inside, boxes
        self.left: list[Job] = []
        self._put_off: set[Job] = set()

    def __call__(self, job: Job, max_bytes: int | None = None) -> Record | None:
        """Do one image.

        Args:
            job: the image.
            max_bytes: memory for it where it is not alone at work.

        Returns:
            What is to be told of it; None where it is one of those that are left for the end.
        """
        record: Record = {"image": job.name, "file": job.identity()}
        try:
            if not self.share.take(job):
                self.left.append(job)
                return None
            deaths = self.share.deaths(job)
            if deaths and job not in self._put_off:
                self._put_off.add(job)
                self.left.append(job)
                return None
            job.target.parent.mkdir(parents=True, exist_ok=True)
        except TakenError as error:
            record |= {"status": FAILED, "error": str(error)}
            if error.image != job.name:  # else the other one's record is that of this name
                self.share.journal.append(record)
            return record
        except OSError as error:  # the disk is full, or was taken away
            record |= {"status": FAILED, **_failure(error, job)}
            self.share.journal.append(record)
            return record
        if deaths >= _MAX_DEATHS:
            record |= {"status": FAILED, "error": _deadly(job, deaths)}
            self.share.journal.append(record)
            return record
        self.share.journal.append({**record, "status": self.begun})
        if max_bytes is None:
            record |= self._segment(job, self.max_bytes, self.inside(job.name))
        else:
            record |= self._segment(job, max_bytes, untold)
        record["config"] = self.config
        self.share.journal.append(record)
        return record

    def _segment(self, job: Job, max_bytes: int, progress: Progress) -> Record:
        return segment_job(
            self.predictor, job, self.request_of(job), self.results, max_bytes, progress
        )

    def request_of(self, job: Job) -> Request:
        """How an image is read, with the boxes in it where these are given."""
        if self.boxes is None:
            return self.request
        return replace(self.request, boxes=self.boxes.get(job.name, NO_BOXES))


def segment_job(
    predictor: Predictor,
    job: Job,
    request: Request,
    results: frozenset[str],
    max_bytes: int,
    progress: Progress,
) -> Record:
    """What is to be told of an image once it is segmented, whatever is wrong with it.

    The peak of memory in it is the process', so others at work at the same time count, too.

    Args:
        predictor: that segments it.
        job: the image.
        request: how it is read, and which cells are kept.
        results: what is written beside the label image, by the names on the command line.
        max_bytes: memory for it.
        progress: is told how far it is.
    """
    source, record = job.source, Record(status=FAILED)
    older = {path: path.stat().st_mtime_ns for path in _outputs(job)}
    with warnings_collected() as warnings:
        try:
            what = request, max_bytes, progress, _also(job, results)
            record |= outcome_record(predictor.predict_file(source, job.target, *what))
            record |= {"label": job.label, "label_sha256": sha256(job.target)}
            if request.boxes is not None and record["instances"] < len(request.boxes):
                logger.warning(
                    "%d of %d boxes have a cell that is kept; cells are numbered as these",
                    *(record["instances"], len(request.boxes)),
                )
            record |= _results(job, results) | {"status": DONE}
        except ImageError as error:
            record |= {"error": str(error), **_again(error.__cause__)}
        except MemoryError as error:
            reason = str(error) or f"{size_text(peak_memory())} in use"
            record["error"] = (
                f"{source}: not enough memory ({reason}); give more (--max-memory), save the "
                "image as a tiled TIFF, which is read in parts, or cut it into several"
            )
        except OSError as error:
            record |= _failure(error, job)
        # One image, whatever is wrong with it, must not cost the others.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
            record["error"] = f"{source}: {problem}; please report this image"
    if record["status"] == FAILED:
        kept = [p.name for p in _outputs(job) if p.stat().st_mtime_ns == older.get(p)]
        warnings += [f"of an earlier run: {', '.join(kept)}"] if kept else []
    return {**record, "peak_memory": peak_memory(), "warnings": warnings}


def _failure(error: OSError, job: Job) -> Record:
    """What is to be told of an image that the system did not let be read or written."""
    return {"error": explain(error, job.source, job.target), **_again(error)}


def _again(error: BaseException | None) -> Record:
    """That an image may do well another time, if what has made it fail is of that kind."""
    return {"try_again": True} if isinstance(error, OSError) and may_pass(error) else {}


def _deadly(job: Job, deaths: int) -> str:
    """What is wrong with an image at which runs have died."""
    return (
        f"{job.source}: {deaths} runs were killed while they worked on this image (not enough "
        "memory, or a machine was lost); give more memory or take it away; --resume tries it again"
    )


def _outputs(job: Job) -> list[Path]:
    """What there is of an image in the output folder."""
    paths = [job.target, *(result_path(job.target, kind) for kind in RESULT_FILES)]
    return [path for path in paths if os.path.isfile(path)]  # noqa: PTH113  # nor too long


def _also(job: Job, results: frozenset[str]) -> Also | None:
    """What writes more than the label image, if anything is wanted."""
    if not results & RESULT_FILES.keys():
        return None
    from ..results.writer import ResultWriter  # takes time, which most runs need not wait for

    return partial(ResultWriter, job.target, results, job.name)


def _results(job: Job, results: frozenset[str]) -> Record:
    """The paths of what was written beside the label image; what is older is warned of."""
    beside = {kind: result_path(job.target, kind) for kind in RESULT_FILES}
    for kind, path in beside.items():
        if kind not in results and os.path.exists(path):  # noqa: PTH110  # nor too long
            logger.warning("%s is of an earlier run, and may not fit this one", path.name)
    folder = Path(job.label).parent
    made = {kind: (folder / path.name).as_posix() for kind, path in beside.items()}
    made = {kind: path for kind, path in made.items() if kind in results}
    return {"results": made} if made else {}
