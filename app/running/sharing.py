"""One output folder, any number of runs at once: each image is made by one of them.

In OUTPUT/.runs each run has a lease (running/lease.py) and a journal, and each image that a run
takes on has a claim. Whoever comes while a run goes on works with it; who comes to a folder without
one begins anew. The last to leave removes .runs; all that stays is run.json.
"""

import contextlib
import fcntl
import itertools
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from .claims import Claim, claim_path, read_claim, write_claim
from .journal import (
    DONE,
    FAILED,
    RUN_FILE,
    RUNS_FOLDER,
    SETTLED,
    STARTED,
    SUFFIX,
    Journal,
    Record,
    abouts,
    append_line,
    journal_path,
    latest,
    read_history,
    read_lines,
    unended,
    write_run,
)
from .lease import DEAD_AFTER, LEASE_SUFFIX, Lease, is_alive, read_lease
from .plan import Job, UsageError


class TakenError(ValueError):
    """Another run at work in the folder writes the same label image, of another image.

    Args:
        message: says so.
        image: name of the other image.
    """

    def __init__(self, message: str, image: str) -> None:
        super().__init__(message)
        self.image = image


class Share:
    """The part of one run in an output folder.

    Args:
        folder: the output folder.
        run: as ``new_run`` names it.
        process: number of the process that stands for the run.
        config: hash of all that label images depend on; runs that share a folder agree in it.
        about: what run.json is to tell of the run.
        resume: what earlier runs have done is kept in run.json until ``leave`` replaces it.
        restarted: an earlier process of this run has crashed.

    Attributes:
        journal: of the run.
        earlier: what earlier runs have left: a record of each image by its name.

    Raises:
        UsageError: a run with another configuration is at work.
        OSError: the folder can't be written to.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        process: int,
        config: str,
        about: Record,
        resume: bool,
        restarted: bool,
    ) -> None:
        self.folder, self.run = folder, run
        self.runs = folder / RUNS_FOLDER
        lease = self.runs / f"{run}{LEASE_SUFFIX}"
        with _locked(self.runs):
            others = self._living()
            for other in others:
                if read_lease(other).get("config") != config:
                    host, number = (read_lease(other).get(key) for key in ("host", "process"))
                    raise UsageError(
                        f"{folder}: a run with other options or weights (process {number} on "
                        f"{host}) is at work in this folder; wait for it, or give another folder"
                    )
            history = read_history(folder)
            self.earlier = latest(history)
            begun = unended(history)
            self._suspected = {line["image"] for line in begun}
            if not others and not restarted:
                if resume and any(self.runs.glob(f"*{SUFFIX}")):  # which are removed
                    write_run(folder, {}, abouts(history), latest(history))
                for left in self.runs.iterdir():
                    if left.name != "lock":
                        _remove(left)
            self._lease = Lease(lease, process, config=config)
            self.journal = Journal(journal_path(folder, run), run)
            for name, each in {**(abouts(history) if resume else {}), run: about}.items():
                append_line(self.journal.path, {"run": name, "about": each})
            if resume and not (others or restarted):  # else they are in the folder still
                for line in begun:
                    append_line(self.journal.path, line)
            # Not before: a full disk has ended the run by now.
            if not (others or restarted or resume):
                (folder / RUN_FILE).unlink(missing_ok=True)
        self._claims = self.runs / "claims"
        self._claims.mkdir(exist_ok=True)
        self._lines: list[Record] = []
        self._reading = threading.Lock()
        self._read: dict[Path, int] = {}  # bytes of each journal

    def take(self, job: Job) -> bool:
        """Claim an image, also one whose run has died; false while another run has it.

        Raises:
            TakenError: its label image is made of another image.
            OSError: the claim can't be written.
        """
        mine = Claim(self.run, job.name, job.identity())
        for turn in itertools.count():
            path = claim_path(self._claims, job.label, turn)
            if write_claim(path, mine):
                return True
            found = read_claim(path)
            if found is None:
                # On a file system without links another run may just write it.
                if self._living() and self._now() - path.stat().st_mtime < DEAD_AFTER:
                    return False
                continue
            if found.run == self.run:
                return True
            record = self.records().get(found.image, {})
            status = record.get("status") if record.get("file") == found.file else STARTED
            lives = is_alive(self.runs / f"{found.run}{LEASE_SUFFIX}", self._now())
            if (found.image, found.file) == (mine.image, mine.file):
                if lives or status in SETTLED:
                    return False
            elif status == DONE or (lives and status != FAILED):
                what = f"another image ({found.image})"
                if found.image == job.name:
                    what = "another file of this name, or of this one before it was changed,"
                raise TakenError(
                    f"{job.source}: {job.label} is made of {what} by a run that shares the output "
                    "folder; wait for it, or give another folder",
                    found.image,
                )
            self._suspected.add(job.name)
        raise AssertionError

    def deaths(self, job: Job) -> int:
        """How many runs have died, of whatever, while they worked on an image that is this run's.

        Those that were interrupted have told so, and don't count; nor do runs from before one that
        came to its end.
        """
        if job.name not in self._suspected:
            return 0
        file = job.identity()
        begun = unended(self._lines_so_far())
        return sum((line["image"], line.get("file")) == (job.name, file) for line in begun)

    def records(self) -> dict[str, Record]:
        """What all runs that share the folder know of each image."""
        return latest(self._lines_so_far())

    def _lines_so_far(self) -> list[Record]:
        with self._reading:
            for path in sorted(self.runs.glob(f"*{SUFFIX}")):
                lines, self._read[path] = read_lines(path, self._read.get(path, 0))
                self._lines += lines
            # A full disk may have cost the journal lines that this run knows all the same.
            return [*self._lines, *self.journal.records.values()]

    def leave(self, header: Record, *, interrupted: bool = False) -> None:
        """End the run's part: run.json tells what all runs have done so far.

        Args:
            header: what is to be known of the run as a whole.
            interrupted: before all was settled; then it stays known at which images runs have died.

        Raises:
            OSError: run.json can't be written; the journals stay.
        """
        self.journal.close()
        with _locked(self.runs):
            lines = self._lines_so_far()
            write_run(self.folder, header, abouts(lines), latest(lines))
            self._lease.end()
            if not self._living() and not (interrupted and unended(lines)):
                shutil.rmtree(self.runs, ignore_errors=True)

    def _living(self) -> list[Path]:
        """The leases of the other runs that go on."""
        leases = [
            p for p in self.runs.glob(f"*{LEASE_SUFFIX}") if p.name != f"{self.run}{LEASE_SUFFIX}"
        ]
        now = self._now() if leases else 0.0
        return [path for path in leases if is_alive(path, now)]

    def _now(self) -> float:
        """The time by the clock of the folder's file system."""
        clock = self.runs / f"{self.run}.clock"
        clock.touch()
        return clock.stat().st_mtime


@contextlib.contextmanager
def _locked(runs: Path) -> Iterator[None]:
    """Alone among the runs of a folder, where its file system knows locks."""
    file = None
    while file is None:
        runs.mkdir(exist_ok=True)
        file = _lock(runs / "lock")
    with file:
        yield


def _lock(path: Path) -> TextIO | None:
    """A file, locked until it is closed; None if the last run has just removed it."""
    try:
        file = path.open("w")
    except FileNotFoundError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)
    with contextlib.suppress(FileNotFoundError):
        if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    file.close()
    return None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
