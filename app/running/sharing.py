"""One output folder, any number of runs at once: each image is made by one of them.

In OUTPUT/.runs each run has a lease (running/lease.py) and a journal, and each image that a run
takes on has a claim. Whoever comes while a run goes on works with it; who comes to a folder without
one begins anew. The last to leave removes .runs; all that stays is run.json.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from ..files.atomic import atomic_write
from .journal import (
    RUN_FILE,
    RUNS_FOLDER,
    SETTLED,
    SUFFIX,
    Journal,
    Record,
    append_line,
    journal_path,
    latest,
    read_lines,
    read_records,
)
from .lease import DEAD_AFTER, Lease, is_alive, read_lease
from .plan import UsageError

_LEASE = ".lease"


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
        earlier: the records of earlier runs by the image's name.

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
        lease = self.runs / f"{run}{_LEASE}"
        with _locked(self.runs):
            others = self._living()
            for other in others:
                if read_lease(other).get("config") != config:
                    host, number = (read_lease(other).get(key) for key in ("host", "process"))
                    raise UsageError(
                        f"{folder}: a run with other options or weights (process {number} on "
                        f"{host}) is at work in this folder; wait for it, or give another folder"
                    )
            self.earlier = read_records(folder)
            if not others and not restarted:
                if not resume:
                    (folder / RUN_FILE).unlink(missing_ok=True)
                elif any(self.runs.glob(f"*{SUFFIX}")):  # which are removed
                    _write_run(folder, {}, self.earlier)
                for left in self.runs.iterdir():
                    if left.name != "lock":
                        _remove(left)
            self._lease = Lease(lease, process, config=config)
        self.journal = Journal(journal_path(folder, run), run)
        append_line(self.journal.path, {"run": run, "about": about})
        self._claims = self.runs / "claims"
        self._claims.mkdir(exist_ok=True)
        self._lines: list[Record] = []
        self._reading = threading.Lock()
        self._read: dict[Path, int] = {}  # bytes of each journal

    def take(self, name: str) -> bool:
        """Claim an image, also one whose run has died; false while another run has it."""
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:32]
        turn = 0
        while True:
            claim = self._claims / f"{digest}.{turn}"
            try:
                with claim.open("x") as file:
                    file.write(self.run)
                return True
            except FileExistsError:
                owner = claim.read_text(errors="replace")
            if owner == self.run:
                return True
            if owner:
                held = is_alive(self.runs / f"{owner}{_LEASE}", self._now())
            else:  # just made, or by a run that died while it made it
                held = self._now() - claim.stat().st_mtime < DEAD_AFTER
            if held or self.records().get(name, {}).get("status") in SETTLED:
                return False
            turn += 1

    def records(self) -> dict[str, Record]:
        """What all runs that share the folder know of each image."""
        with self._reading:
            for path in sorted(self.runs.glob(f"*{SUFFIX}")):
                lines, self._read[path] = read_lines(path, self._read.get(path, 0))
                self._lines += lines
            # A full disk may have cost the journal lines that this run knows all the same.
            return {**latest(self._lines), **self.journal.records}

    def leave(self, header: Record) -> None:
        """End the run's part: run.json tells what all runs have done so far.

        Args:
            header: what is to be known of the run as a whole.

        Raises:
            OSError: run.json can't be written; the journals stay.
        """
        self.journal.close()
        with _locked(self.runs):
            records = self.records()
            runs = {line["run"]: line["about"] for line in self._lines if "about" in line}
            _write_run(self.folder, {**header, "runs": runs}, records)
            self._lease.end()
            if not self._living():
                shutil.rmtree(self.runs, ignore_errors=True)

    def _living(self) -> list[Path]:
        """The leases of the other runs that go on."""
        leases = [p for p in self.runs.glob(f"*{_LEASE}") if p.name != f"{self.run}{_LEASE}"]
        now = self._now() if leases else 0.0
        return [path for path in leases if is_alive(path, now)]

    def _now(self) -> float:
        """The time by the clock of the folder's file system."""
        clock = self.runs / f"{self.run}.clock"
        clock.touch()
        return clock.stat().st_mtime


def _write_run(folder: Path, header: Record, records: dict[str, Record]) -> None:
    """Write run.json, with the images that are settled."""
    images = [records[name] for name in sorted(records) if records[name]["status"] in SETTLED]
    counts = {status: sum(r["status"] == status for r in images) for status in SETTLED}
    text = json.dumps({**header, **counts, "images": images}, indent=1)
    with atomic_write(folder / RUN_FILE) as part:
        part.write_text(text + "\n")


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
