"""What has become of each image: line by line while a run goes on, in run.json when it has ended.

Each run has a journal of its own. A line is written before an image is begun and another when it
has ended, so that whatever ends the process, it is known which images are settled and which ones
were at work. Every line names its run.
"""

import contextlib
import json
import secrets
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..files.atomic import atomic_write
from ..files.identity import identity as identity

RUN_FILE = "run.json"
RUNS_FOLDER = ".runs"  # in the output folder, while runs go on
SUFFIX = ".jsonl"  # of a run's journal in it
STARTED, DONE, FAILED = "started", "done", "failed"
# One of several that were at work when the process crashed: to be tried alone.
SUSPECT = "suspect"
# Was at work when its run was interrupted, which had the time to say so.
LEFT = "left"
# Is at work in another process, whatever becomes of this one.
SENT = "sent"
SETTLED = DONE, FAILED
Record = dict[str, Any]


class Journal:
    """The records of one run; several threads may add to them.

    Args:
        path: of the journal's file.
        run: names the run in every line.
    """

    def __init__(self, path: Path, run: str) -> None:
        self.path, self.run = path, run
        self.records: dict[str, Record] = {}
        self._lock = threading.Lock()
        self._closed = False

    def append(self, record: Record) -> None:
        """Add what is known of an image; a full disk costs the line, not the run.

        After ``close`` nothing is added: an interrupted run may have left a thread at work.
        """
        with self._lock:
            if self._closed:
                return
            line = {"run": self.run, "time": time.time(), **record}
            self.records[record["image"]] = line
            with contextlib.suppress(OSError):
                append_line(self.path, line)

    def close(self) -> None:
        """Add no more; what is still at work is left to other runs."""
        with self._lock:
            for name, record in self.records.items():
                if record["status"] == STARTED:
                    self.records[name] = {**record, "status": LEFT}
                    with contextlib.suppress(OSError):
                        append_line(self.path, self.records[name])
            self._closed = True


def new_run() -> str:
    """A name for a run: when it began, and what no other has."""
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(4)


def journal_path(folder: Path, run: str) -> Path:
    """The journal of a run in an output folder."""
    return folder / RUNS_FOLDER / f"{run}{SUFFIX}"


def append_line(path: Path, line: Record) -> None:
    """Add a line to a journal."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def read_lines(path: Path, start: int = 0) -> tuple[list[Record], int]:
    """The lines of a journal from a byte on, and the byte after them.

    Half a line, of a killed process or a full disk, is none.
    """
    try:
        with path.open("rb") as file:
            file.seek(start)
            whole, end, _ = file.read().rpartition(b"\n")
    except OSError:
        return [], start
    lines = []
    for line in whole.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict):
                lines.append(record)
    return lines, start + len(whole + end)


def read_journals(folder: Path) -> list[Record]:
    """The lines of all runs that share an output folder."""
    paths = sorted((folder / RUNS_FOLDER).glob(f"*{SUFFIX}"))
    return [line for path in paths for line in read_lines(path)[0]]


def latest(lines: Iterable[Record]) -> dict[str, Record]:
    """The record that counts of each image: the last of a run, of several runs one that settles."""
    found: dict[str, Record] = {}
    for line in lines:
        name = line.get("image")
        if not isinstance(name, str) or "status" not in line:
            continue
        before = found.get(name, {})
        settled = before.get("status") in SETTLED and line["status"] not in SETTLED
        if not (settled and before.get("run") != line.get("run")):
            found[name] = line
    return found


def unended(lines: Iterable[Record]) -> list[Record]:
    """Of each run the images that it began, and has told no more of: it is at work or died."""
    last: dict[tuple[str, str], Record] = {}
    for line in lines:
        name = line.get("image")
        if isinstance(name, str) and "status" in line:
            last[name, str(line.get("run"))] = line
    return [line for line in last.values() if line["status"] == STARTED]


def abouts(lines: Iterable[Record]) -> dict[str, Record]:
    """What is to be known of each run, by its name."""
    return {str(line["run"]): line["about"] for line in lines if {"run", "about"} <= line.keys()}


def read_history(folder: Path) -> list[Record]:
    """The lines of all runs of an output folder: from run.json, then from journals."""
    lines: list[Any] = []
    broken = ValueError, LookupError, TypeError, AttributeError, RecursionError
    with contextlib.suppress(OSError, *broken):  # it may have been edited
        whole = json.loads((folder / RUN_FILE).read_text())
        lines += whole["images"]
        lines += [{"run": run, "about": about} for run, about in whole["runs"].items()]
    return [line for line in lines if isinstance(line, dict)] + read_journals(folder)


def is_broken(folder: Path) -> bool:
    """Whether run.json is there and can't be read."""
    try:
        return not isinstance(json.loads((folder / RUN_FILE).read_text())["images"], list)
    except FileNotFoundError:
        return False
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return True


def read_records(folder: Path) -> dict[str, Record]:
    """The last record of each image of an output folder."""
    return latest(read_history(folder))


def write_run(
    folder: Path, header: Record, runs: dict[str, Record], records: dict[str, Record]
) -> None:
    """Write run.json.

    Args:
        folder: the output folder.
        header: what stands first in it.
        runs: what is to be known of each run, by its name.
        records: of the images by name; those that are settled are told.

    Raises:
        OSError: it can't be written.
    """
    images = [records[name] for name in sorted(records) if records[name]["status"] in SETTLED]
    counts = {status: sum(r["status"] == status for r in images) for status in SETTLED}
    text = json.dumps({**header, "runs": runs, **counts, "images": images}, indent=1)
    with atomic_write(folder / RUN_FILE) as part:
        part.write_text(text + "\n")
