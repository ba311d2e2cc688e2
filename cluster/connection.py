# mypy: allow-untyped-calls
"""The connection of a command to a Dask cluster: whatever it waits for is told, or ends it."""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any, Self

from distributed import Client, Future, wait
from distributed.comm.core import connect
from distributed.scheduler import KilledWorker
from distributed.security import Security

from app.files.arrays import ImageError
from app.running.console import say
from app.running.plan import UsageError

_PATIENCE = 60  # seconds for the scheduler to answer at the start
_SILENCE = 10.0  # seconds for which anything is waited for without a word
_LOOK = 2.0  # seconds from one look at the cluster to the next
_TO_CLOSE = 5.0  # seconds to take leave of the scheduler


class SchedulerLost(KeyboardInterrupt):
    """The scheduler has gone; as an interrupt, that is nothing that an image has done."""


class WorkerError(RuntimeError):
    """A worker that can do no part of any image: names it, and says why and what to do."""


class Connection:
    """A Dask cluster as one command uses it, while the ``with`` block goes on.

    Args:
        address: of the scheduler.

    Attributes:
        client: Dask's own.
        is_lost: the scheduler has gone, and with it all that was under way.

    Raises:
        UsageError: there is no scheduler.
    """

    def __init__(self, address: str) -> None:
        # What Dask would tell of a cluster that is lost is told here, in a line.
        for name in logging.root.manager.loggerDict:
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)
        try:
            # First without a client: one that can't be made takes minutes to end.
            asyncio.run(_greet(address))
            self.client = Client(address, timeout=_PATIENCE, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:  # the last of tls:// without a key
            raise UsageError(f"{address}: no scheduler answers ({error}); start one") from error
        self.address, self.is_lost = address, False
        self._workers: dict[str, int] = {}
        self._had = False  # a worker
        self._others = ""  # what is waited for beside workers and the scheduler
        self._looked, self._ended = threading.Event(), threading.Event()
        self._watching = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._watching.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watching.join(_SILENCE)
        with contextlib.suppress(OSError):  # nobody may be there any more
            self.client.close(timeout=_TO_CLOSE)

    def await_worker(self) -> int:
        """Wait for the first worker; returns how many there are.

        Raises:
            UsageError: the scheduler has gone meanwhile.
        """
        while not self._workers:
            self._looked.wait(_LOOK)
            if self.is_lost:
                raise UsageError(f"{self.address}: the scheduler has gone; start it again")
            self._looked.clear()
        return len(self._workers)

    @property
    def threads(self) -> int:
        """Parts that the workers do at once; they come and go."""
        return max(1, sum(self._workers.values()))

    @contextlib.contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Say what is waited for if the ``with`` block takes long."""
        self._others = what
        try:
            yield
        finally:
            self._others = ""

    def submit(self, *part: Any, priority: int = 0) -> Future[Any]:
        """Have a worker call a function.

        Args:
            part: the function and its arguments.
            priority: what has a higher one is done first.

        Raises:
            SchedulerLost: there is nobody to ask.
        """
        if self.is_lost:
            raise SchedulerLost
        return self.client.submit(*part, pure=False, priority=priority)

    def results_of(self, futures: Sequence[Future[Any]], path: Path) -> list[Any]:
        """Wait for some parts of an image.

        Args:
            futures: of the parts.
            path: of the image, for messages.

        Raises:
            ImageError: no worker has survived a part, or one of them can't do any.
            SchedulerLost: there is none to wait for.
        """
        try:
            while not self.is_lost:
                with contextlib.suppress(TimeoutError), self.client.as_current():
                    wait(futures, timeout=_LOOK)
                    return list(self.client.gather(list(futures)))
        except KilledWorker as error:
            raise ImageError(
                f"{path}: ended {error.allowed_failures + 1} workers, most likely for want of "
                "memory; give each more (dask worker --memory-limit)"
            ) from error
        except WorkerError as error:
            raise ImageError(f"{path}: {error}") from error
        except CancelledError as error:
            self.is_lost = True
            raise SchedulerLost from error
        raise SchedulerLost

    def _watch(self) -> None:
        """Look at the cluster again and again; say what has been waited for long."""
        since, told = time.monotonic(), ""
        while not self.is_lost:
            waited = self._look() or self._others
            self._looked.set()
            if not waited:
                since, told = time.monotonic(), ""
            elif waited != told and time.monotonic() - since >= _SILENCE:
                say(waited)
                told = waited
            if self._ended.wait(_LOOK):
                return

    def _look(self) -> str:
        """Count the workers; returns what is waited for, if anything."""
        if self.client.status != "running":
            self.is_lost = True
            return ""
        try:
            self._workers = self.client.sync(self._ask, callback_timeout=_SILENCE)
        # Whether it is late or lost, the client's own connection tells.
        except Exception:
            return f"{self.address}: the scheduler doesn't answer; waiting for it"
        self._had |= bool(self._workers)
        if self._workers:
            return ""
        what = "no worker is there any more" if self._had else "no worker has come yet"
        return f"{self.address}: {what}; waiting for one (dask worker {self.address})"

    async def _ask(self) -> dict[str, int]:
        """The threads of each worker."""
        if self.client.scheduler is None:
            raise ConnectionError
        return dict(await self.client.scheduler.ncores())


async def _greet(address: str) -> None:
    """See that a scheduler answers."""
    how = Security().get_connection_args("client")
    comm = await connect(address, timeout=_PATIENCE, **how)
    await comm.close()
