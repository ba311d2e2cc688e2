"""What is done of a folder of pseudo-labels, so that a run that was stopped goes on where it was.

Beside the windows and their label images lies a file with a line for each image that is done.
"""

import csv
import fcntl
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from app.files.arrays import ImageError
from app.files.atomic import atomic_write
from training.errors import InputError
from training.ignored import IGNORED, write_ignored
from training.layout import COLUMNS, IMAGES, LABELS, METADATA, PSEUDO_SOURCE, UNKNOWN, label_path

RECORDS = "pseudo_labels.jsonl"


@dataclass(frozen=True)
class Record:
    """What was made of an image, and of what."""

    image: str
    """Name of its file."""
    folder: str
    """That it lies in."""
    size: int
    """Of the file, bytes."""
    changed: int
    """When the file was, nanoseconds."""
    made_by: str
    """Hash of everything else that the labels depend on."""
    windows: dict[str, list[list[float]]]
    """Of the windows that hold a cell, by name: boxes xyxy, in its pixels, of what may be more."""


@contextmanager
def open_records(root: Path, images: Path) -> Iterator[tuple[TextIO, list[Record]]]:
    """The file of records of a folder of pseudo-labels, to be added to; and what it has.

    Raises:
        OSError: the folder can't be written to.
        InputError: it is of something else, or another process is at work in it.
    """
    path = root / RECORDS
    there = [part for part in (METADATA, IMAGES, LABELS) if (root / part).exists()]
    if there and not path.exists():
        raise InputError(
            f"{root / there[0]}: is no work of this command (there is no {RECORDS}); "
            "give another folder for the output, or remove it"
        )
    root.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8", errors="replace") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{root}: another process labels images in it; wait for it") from error
        file.seek(0)
        records = [record for line in file if (record := read_record(line))]
        others = {record.folder for record in records} - {str(images.resolve())}
        if others:
            raise InputError(
                f"{root}: has labels of the images in {min(others)}; give another folder for the "
                "output, or remove this one"
            )
        for part in (IMAGES, LABELS):
            (root / part).mkdir(parents=True, exist_ok=True)
        yield file, records


def read_record(line: str) -> Record | None:
    """A line of the records; None where a killed process or a full disk has cut it off."""
    with suppress(ValueError, TypeError):
        return Record(**json.loads(line))
    return None


def keep(done: list[Record], images: list[Path], made_by: str, root: Path) -> dict[str, Record]:
    """Records of the images that need not be done again, by name; all other labels are removed."""
    last = {record.image: record for record in done}
    files = {path.name: path for path in images}
    kept: dict[str, Record] = {}
    for name, record in last.items():
        if name in files and record.made_by == made_by and is_current(record, files[name], root):
            kept[name] = record
    if len(kept) < max(len(files), len(last)):
        (root / METADATA).unlink(missing_ok=True)
    for name in last.keys() - kept.keys():
        remove(root, last[name].windows)
    return kept


def is_current(record: Record, image: Path, root: Path) -> bool:
    """Whether an image has not changed since, and its labels are there."""
    there = all(path.exists() for name in record.windows for path in window_files(root, name))
    try:
        return there and (record.size, record.changed) == identify(image)
    except ImageError:
        return False


def identify(image: Path) -> tuple[int, int]:
    """Size in bytes and time of the last change in nanoseconds of a file.

    Raises:
        ImageError: it is gone.
    """
    try:
        status = image.stat()
    except OSError as error:
        raise ImageError(f"{image}: can't be opened ({error.strerror}); check the file") from error
    return status.st_size, status.st_mtime_ns


def window_files(root: Path, name: str) -> tuple[Path, Path]:
    """A window's image and its label image."""
    return root / IMAGES / f"{name}.png", label_path(root / LABELS, name)


def remove(root: Path, names: Iterable[str]) -> None:
    """Remove windows and their label images, where they are there."""
    for name in names:
        for path in window_files(root, name):
            path.unlink(missing_ok=True)


def write_metadata(root: Path, records: list[Record]) -> None:
    """Write the doubtful boxes and then the table of the windows, which are now trained on."""
    doubtful: dict[str, list[list[float]]] = {}
    for record in records:
        doubtful |= record.windows
    write_ignored(root / IGNORED, doubtful)
    rows = [(name, f"{name}.png", PSEUDO_SOURCE, UNKNOWN, "train") for name in doubtful]
    path = root / METADATA
    with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
