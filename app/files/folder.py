"""Which files of a folder are images, by their content; and what is passed over, and why."""

import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from .directories import first_description
from .kinds import HEAD, PNG, READ, SUFFIXES, TIFF, identify, remedy
from .ome import read_ome

_NO_IMAGE, _FOLDER, _DEAD_LINK, _NO_FILE = "no image", "a folder", "a dead link", "no file"
_ZARR = "OME-Zarr"
_ZARR_FILES = (".zgroup", ".zattrs", "zarr.json")
_MAX_NAMES = 5  # in a message


@dataclass(frozen=True)
class Passed:
    """What is not read of a folder.

    Attributes:
        path: of a file or folder.
        reason: what it is: the name of a format that can't be read, or ``no image``, ``a folder``,
            ``a dead link``, ``no file``.
        part_of: the image whose file names this one as a part of itself, or "".
    """

    path: Path
    reason: str
    part_of: str = ""


@dataclass(frozen=True)
class Listing:
    """What is in a folder, hidden files apart.

    Attributes:
        images: sorted; one of several files is listed once, by the first of them.
        passed: everything else, sorted.
    """

    images: list[Path]
    passed: list[Passed]


def list_folder(folder: Path) -> Listing:
    """Look at all files of a folder; not at those of folders in it.

    Files that are named as PNG, JPEG, BMP and TIFF are images; of all others a few bytes are read.

    Raises:
        OSError: the folder can't be read.
    """
    if _is_zarr(folder):
        return Listing([], [Passed(folder, _ZARR)])
    images: list[Path] = []
    passed: list[Passed] = []
    tiffs: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            reason = _reason(entry, path)
            if reason in READ:
                images.append(path)
                if reason == TIFF:
                    tiffs.append(path)
            else:
                passed.append(Passed(path, reason))
    parts = _find_parts(tiffs)
    passed += [Passed(path, TIFF, first) for path, first in parts.items()]
    return Listing([path for path in images if path not in parts], passed)


def find_images(folder: Path) -> list[Path]:
    """The images of a folder, as ``list_folder`` finds them."""
    return list_folder(folder).images


def describe_passed(passed: Sequence[Passed]) -> list[str]:
    """What was passed over, a line for each reason, and what to do about it."""
    lines = []
    groups: dict[tuple[str, bool], list[Passed]] = defaultdict(list)
    for item in passed:
        groups[item.reason, bool(item.part_of)].append(item)
    for (reason, is_part), items in groups.items():
        names = ", ".join(item.path.name for item in items[:_MAX_NAMES])
        if len(items) > _MAX_NAMES:
            names += f" and {len(items) - _MAX_NAMES} more"
        one = len(items) == 1
        if is_part:
            what = "1 file is part" if one else f"{len(items)} files are parts"
            lines.append(f"{what} of an image that begins in another file: {names}")
        elif reason == _NO_IMAGE:
            lines.append(f"{'1 file is' if one else f'{len(items)} files are'} no image: {names}")
        elif reason == _FOLDER:
            what = "1 folder in the folder is" if one else f"{len(items)} folders in it are"
            lines.append(f"{what} not searched: {names}")
        elif reason in (_DEAD_LINK, _NO_FILE):
            what = "leads to nothing" if reason == _DEAD_LINK else "is neither file nor folder"
            lines.append(f"passed over, for it {what}: {names}")
        else:
            lines.append(f"{reason} is not supported: {names}; {remedy(reason)}")
    return lines


def _reason(entry: os.DirEntry[str], path: Path) -> str:
    """The format of a file, or why it is none."""
    try:
        is_file, is_folder = entry.is_file(), entry.is_dir()
    except OSError:  # a link that leads back to itself
        return _DEAD_LINK
    if not is_file:
        if is_folder:
            return _ZARR if _is_zarr(path) else _FOLDER
        return _DEAD_LINK if entry.is_symlink() and not path.exists() else _NO_FILE
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return TIFF if suffix.startswith(".tif") else PNG  # what it is, its opening tells
    try:
        with path.open("rb", buffering=0) as file:
            return identify(file.read(HEAD), suffix) or _NO_IMAGE
    except OSError as error:
        return f"unreadable ({error.strerror})"


def _is_zarr(folder: Path) -> bool:
    return any((folder / name).is_file() for name in _ZARR_FILES)


def _find_parts(tiffs: list[Path]) -> dict[Path, str]:
    """The files that are parts of images that begin in others, with the names of these."""
    there = {path.name for path in tiffs}
    first_of: dict[str, str] = {}
    for path in tiffs if len(tiffs) > 1 else []:
        if path.name not in first_of:
            for names in _files_of_images(path):
                present = [name for name in names if name in there]
                if path.name in present:
                    first_of |= {name: first_of.get(name, present[0]) for name in present}
    firsts = {path: first_of.get(path.name, path.name) for path in tiffs}
    return {path: first for path, first in firsts.items() if first != path.name}


def _files_of_images(path: Path) -> list[tuple[str, ...]]:
    """Names of the files of each image that a file's description tells of."""
    try:
        ome = read_ome(first_description(path))
    except OSError:
        return []
    return [image.files for image in ome.images] if ome else []
