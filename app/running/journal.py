"""What has become of each image: line by line while a run goes on, in run.json when it has ended.

A line is written before an image is begun and another when it has ended, so that whatever ends
the process, it is known which images are settled and which ones were at work.
"""

import contextlib
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write

RUN_FILE = "run.json"
JOURNAL_FILE = "run.jsonl"
STARTED, DONE, FAILED = "started", "done", "failed"
# One of several that were at work when the process crashed: to be tried alone.
SUSPECT = "suspect"
SETTLED = DONE, FAILED
Record = dict[str, Any]


class Journal:
    """The records of a run, in its output folder; several threads may add to them.

    Args:
        folder: where the label images go.
        records: those of images that are settled already.
    """

    def __init__(self, folder: Path, records: Iterable[Record]) -> None:
        self.folder = folder
        self.records = {record["image"]: record for record in records}
        self._lock = threading.Lock()
        self._closed = False
        lines = "".join(json.dumps(record) + "\n" for record in self.records.values())
        with atomic_write(folder / JOURNAL_FILE) as part:
            part.write_text(lines)
        (folder / RUN_FILE).unlink(missing_ok=True)

    def append(self, record: Record) -> None:
        """Add what is known of an image; a full disk costs the line, not the run.

        After ``close`` nothing is added: an interrupted run may have left a thread at work.
        """
        with self._lock:
            if self._closed:
                return
            self.records[record["image"]] = record
            with contextlib.suppress(OSError):
                append_line(self.folder, record)

    def close(self, header: Record) -> None:
        """Turn the journal into ``run.json``.

        Args:
            header: what is to be known of the run as a whole.

        Raises:
            OSError: it can't be written; the journal stays.
        """
        with self._lock:
            self._closed = True
        records = [self.records[name] for name in sorted(self.records)]
        records = [record for record in records if record["status"] in SETTLED]
        counts = {status: sum(r["status"] == status for r in records) for status in SETTLED}
        text = json.dumps({**header, **counts, "images": records}, indent=1)
        with atomic_write(self.folder / RUN_FILE) as part:
            part.write_text(text + "\n")
        (self.folder / JOURNAL_FILE).unlink(missing_ok=True)


def append_line(folder: Path, record: Record) -> None:
    """Add a record to the journal."""
    with (folder / JOURNAL_FILE).open("a") as file:
        file.write(json.dumps(record) + "\n")


def read_records(folder: Path) -> dict[str, Record]:
    """The last record of each image, by its name: from run.json, then from the journal."""
    lines = []
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        lines += json.loads((folder / RUN_FILE).read_text())["images"]
    with contextlib.suppress(OSError, ValueError):
        for line in (folder / JOURNAL_FILE).read_text().splitlines():
            # A killed process or a full disk may have left half a line.
            with contextlib.suppress(ValueError):
                lines.append(json.loads(line))
    return {r["image"]: r for r in lines if isinstance(r, dict) and {"image", "status"} <= r.keys()}


def identity(path: Path) -> list[int]:
    """Size in bytes and time of the last change in nanoseconds of a file."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
