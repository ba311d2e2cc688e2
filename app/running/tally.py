"""What has become of all images of a run: its closing line and exit status."""

import time
from pathlib import Path

from .console import counted
from .journal import DONE, FAILED, RUN_FILE, Record
from .remedies import TRY_AGAIN


class Tally:
    """Counts what is settled.

    Args:
        folder: the output folder.
        total: images in all.
        unreadable: files and folders that may hold more of them.

    Attributes:
        interrupted: the run was, before all was settled.
        unwritten: run.json, or the report, could not be written.
        report: where that is, if there is one.
    """

    def __init__(self, folder: Path, total: int, unreadable: int) -> None:
        self.folder, self.total, self.unreadable = folder, total, unreadable
        self.done = self.failed = self.cells = 0
        self._may_pass = False
        self.interrupted = self.unwritten = False
        self.report: Path | None = None
        self._began = time.monotonic()

    def add(self, record: Record) -> None:
        """One more image is settled."""
        self.done += record["status"] == DONE
        self.failed += record["status"] == FAILED
        self._may_pass |= record["status"] == FAILED and "try_again" in record
        cells = record.get("instances")
        self.cells += cells if isinstance(cells, int) else 0  # run.json may have been edited

    @property
    def status(self) -> int:
        """To end the process with."""
        if self.interrupted:
            return 130
        if self.unwritten or self._may_pass:
            return TRY_AGAIN
        return int(self.failed > 0 or self.unreadable > 0)

    def describe(self) -> str:
        """All of it in a line."""
        seconds = time.monotonic() - self._began
        cells = counted(self.cells, "cell")
        parts = [f"{self.done} of {counted(self.total, 'image')} done ({cells}, {seconds:.0f} s)"]
        if self.failed:
            parts.append(f"{self.failed} failed, each named above")
        if self.interrupted:
            parts.append("interrupted: what is done is kept, --resume goes on from it")
        elif not self.unwritten:
            parts.append(f"see {self.report or self.folder / RUN_FILE}")
        return "; ".join(parts)
