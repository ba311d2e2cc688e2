"""Whole images, each a task: claimed and recorded by the command, segmented by a worker."""

from collections.abc import Iterator
from typing import cast

from distributed import get_worker

from app.files.arrays import ImageError
from app.look import Wanted
from app.overrides import Asked
from app.request import Request
from app.running.journal import FAILED, SENT, Record
from app.running.loop import Together, do_all
from app.running.memory import available_memory
from app.running.plan import Job
from app.running.work import Worker, segment_job
from app.stopwatch import Progress, untold

from .workers import Networks, Remote, predictor_of

_LEAST = 64  # images that are handed to the scheduler at once, for workers that are still to come
_A_THREAD = 2  # of the workers: the same, so that none waits
# Of a worker's memory: images that need no more are tried however little it is.
_ALWAYS_TRIED = 0.25


class ImageWorker(Worker):
    """As ``Worker``, but a worker of the cluster segments the image, by its own memory's limit."""

    begun = SENT  # no image ends the command

    def _segment(self, job: Job, max_bytes: int, progress: Progress) -> Record:
        remote = cast(Remote, self.predictor)
        how = remote.networks, remote.wanted, remote.channels, self.request_of(job), self.results
        future = remote.connection.submit(segment_image, job, *how)
        try:
            (record,) = remote.connection.results_of([future], job.source)
        except ImageError as error:
            return {"status": FAILED, "error": f"{error}; the other images go on"}
        return cast(Record, record)


def segment_image(
    job: Job,
    networks: Networks,
    wanted: Wanted,
    channels: Asked | None,
    request: Request,
    results: frozenset[str],
) -> Record:
    """On a worker: what is to be told of an image once it is segmented."""
    predictor = predictor_of(networks, wanted, channels)
    worker = get_worker()
    limit = worker.memory_manager.memory_limit or available_memory()
    each = limit // worker.state.nthreads
    left = max(each - predictor.resources.working_memory, int(_ALWAYS_TRIED * each))
    return segment_job(predictor, job, request, results, left, untold)


def do_images(work: Worker, jobs: list[Job]) -> Iterator[Record]:
    """All images, many at once.

    Yields:
        What is to be told of each, as it ends; none of those that other runs have claimed.
    """
    at_once = max(_LEAST, _A_THREAD * cast(Remote, work.predictor).connection.threads)
    return do_all(work, jobs, Together(frozenset(jobs), at_once, work.max_bytes))
