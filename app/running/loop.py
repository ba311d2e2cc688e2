"""Many images: small ones several at once, and those that other runs have claimed at the end."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass

from ..files.open import claimed_size
from ..log import warnings_collected
from ..predict import Predictor
from .console import counted, say
from .journal import DONE, FAILED, Record
from .memory import restart_peak_memory
from .plan import Job, is_settled
from .sharing import Share
from .work import Worker

_PATIENCE = 0.5  # seconds for images at work when the run is interrupted; from look to look
_SILENCE = 5.0  # seconds for which other runs are waited for without a word


@dataclass(frozen=True)
class Together:
    """Images that are done several at once, since one alone does not keep all cores busy.

    Attributes:
        jobs: those that a window could hold.
        at_once: how many are at work.
        max_bytes: memory for each of them; together they take no more than one alone may.
    """

    jobs: frozenset[Job]
    at_once: int
    max_bytes: int


def plan_together(
    jobs: list[Job], threads: int, max_bytes: int, predictor: Predictor, stack: str
) -> Together:
    """Which images are done several at once.

    Args:
        jobs: all that are to be done.
        threads: that may be at work.
        max_bytes: memory for the image that is alone at work.
        predictor: what each one takes beside its image, and how large a window is.
        stack: see ``open_image``.
    """
    working_memory = predictor.resources.working_memory
    # On a GPU one image keeps it busy.
    others = max_bytes // working_memory if predictor.on_cpu else 0
    at_once = max(1, min(threads, 1 + others, len(jobs)))
    if at_once == 1:
        return Together(frozenset(), 1, max_bytes)
    each = (max_bytes - (at_once - 1) * working_memory) // at_once
    small = set()
    with warnings_collected():  # which are told when the image's turn has come
        for job in jobs:
            claim = claimed_size(job.source, stack)
            if claim.pixels <= predictor.method.window**2 and claim.bytes <= each:
                small.add(job)
    return Together(frozenset(small), at_once, each)


def do_all(work: Worker, jobs: list[Job], together: Together) -> Iterator[Record]:
    """Work on all images: the small ones first, several at once, then each of the others alone.

    Yields:
        What is to be told of each image, as it ends; none of those that other runs have claimed.
    """
    pool = ThreadPoolExecutor(together.at_once)
    small = together.jobs
    futures = [pool.submit(work, job, together.max_bytes) for job in jobs if job in small]
    try:
        for future in as_completed(futures):
            if (record := future.result()) is not None:
                yield record
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        # After an interrupt what is at work is waited for, since that is small, but not for ever.
        wait([future for future in futures if not future.cancelled()], _PATIENCE)
    for job in jobs:
        if job not in small:
            restart_peak_memory()
            if (record := work(job)) is not None:
                yield record


def await_others(work: Worker, share: Share) -> Iterator[Record]:
    """Wait for the images that other runs have claimed; take on those of dead runs, one at a time.

    Yields:
        The record of each of them, as it is settled.
    """
    silent_until: float | None = time.monotonic() + _SILENCE
    while work.left:
        records = share.records()
        left, work.left = work.left, []
        for job in left:
            record = records.get(job.name, {})
            if is_settled(record, job):
                yield record
            elif record.get("status") == DONE and record.get("file") == job.identity():
                error = f"{job.source}: {job.label}, which another run made, is gone; --resume"
                yield {"image": job.name, "status": FAILED, "error": error}
            elif (made := work(job)) is not None:
                yield made
        if work.left:
            time.sleep(_PATIENCE)
            if silent_until is not None and time.monotonic() > silent_until:
                silent_until = None
                say(f"waiting for {counted(len(work.left), 'image')} that other runs have begun")
