"""Which files of a folder are images, by their content; and what is passed over, and why."""

import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from .directories import first_description
from .kinds import HEAD, PNG, READ, SUFFIXES, TIFF, identify, remedy
from .ome import read_ome

_NO_IMAGE, _FOLDER, _DEAD_LINK, _NO_FILE = "no image", "a folder", "a dead link", "no file"
_KNOWN, _OUTPUT = "a folder again", "an output folder"
_RUN = "run.json"
_RUN_HEADER = 4096  # bytes of it in which its first keys are
_ZARR = "OME-Zarr"
_ZARR_FILES = (".zgroup", ".zattrs", "zarr.json")
_MAX_NAMES = 5  # in a message


@dataclass(frozen=True)
class Passed:
    """What is not read of a folder.

    Attributes:
        path: of a file or folder.
        reason: what it is: the name of a format that can't be read, or ``no image``, ``a folder``,
            ``a folder again``, ``an output folder``, ``a dead link``, ``no file``.
        part_of: the image whose file names this one as a part of itself, or "".
    """

    path: Path
    reason: str
    part_of: str = ""


@dataclass(frozen=True)
class Listing:
    """What is in a folder, hidden files apart.

    Attributes:
        folder: that was looked at.
        images: by name, those of a folder before those of the folders in it; one of several files
            is listed once, by the first of them.
        passed: everything else, likewise.
        unreadable: files that may be images, and folders, and why they can't be read.
    """

    folder: Path
    images: list[Path] = field(default_factory=list)
    passed: list[Passed] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)


def list_folder(folder: Path, recursive: bool = False, output: Path | None = None) -> Listing:
    """Look at all files of a folder.

    Files that are named as PNG, JPEG, BMP and TIFF are images; of all others a few bytes are read.

    Args:
        folder: to look at.
        recursive: look at the folders in it, too; at each once, wherever links lead.
        output: a folder that is left out of that.

    Raises:
        OSError: the folder can't be read.
    """
    found = Listing(folder)
    searched: set[tuple[int, int]] = set()
    is_there = output is not None and os.path.exists(output)  # noqa: PTH110  # if it can be seen
    left_out = _identity(output) if output and is_there else None
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            identity = _identity(here)
            if identity in searched:
                found.passed.append(Passed(here, _KNOWN))
            elif here != folder and (identity == left_out or is_output(here)):
                found.passed.append(Passed(here, _OUTPUT))
            else:
                searched.add(identity)
                folders = _list_one(here, found)
                if recursive:
                    waiting += reversed(folders)
                else:
                    found.passed.extend([Passed(path, _FOLDER) for path in folders])
        except OSError as error:
            if here == folder:
                raise
            found.unreadable[here] = error.strerror or str(error)
    return found


def list_one(path: Path) -> Listing:
    """One image, and the other files of its folder in which planes of it are."""
    parts = [name for names in _files_of_images(path) if path.name in names for name in names]
    others = [path.with_name(name) for name in dict.fromkeys(parts) if name != path.name]
    passed = [Passed(other, TIFF, path.name) for other in others if other.is_file()]
    return Listing(path.parent, [path], passed)


def find_images(folder: Path) -> list[Path]:
    """The images of a folder, as ``list_folder`` finds them."""
    return list_folder(folder).images


def describe_passed(listing: Listing, to_search: str = "") -> list[str]:
    """What was passed over, a line for each reason, and what to do about it.

    Args:
        listing: of a folder.
        to_search: what makes the folders in it be searched, if something does.
    """
    lines = []
    groups: dict[tuple[str, bool], list[Passed]] = defaultdict(list)
    for item in listing.passed:
        groups[item.reason, bool(item.part_of)].append(item)
    for (reason, is_part), items in groups.items():
        names = ", ".join(relative_name(item.path, listing.folder) for item in items[:_MAX_NAMES])
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
            hint = f" ({to_search} does that)" if to_search else ""
            lines.append(f"{what} not searched{hint}: {names}")
        elif reason == _KNOWN:
            what = "1 folder was" if one else f"{len(items)} folders were"
            lines.append(f"{what} searched by another name already: {names}")
        elif reason == _OUTPUT:
            what = "1 folder of outputs is" if one else f"{len(items)} folders of outputs are"
            lines.append(f"{what} not searched: {names}")
        elif reason in (_DEAD_LINK, _NO_FILE):
            what = "leads to nothing" if reason == _DEAD_LINK else "is neither file nor folder"
            lines.append(f"passed over, for it {what}: {names}")
        else:
            lines.append(f"{reason} is not supported: {names}; {remedy(reason)}")
    return lines


def relative_name(path: Path, folder: Path) -> str:
    """The name of a file in a folder, or in one of the folders in it."""
    return path.name if path == folder else path.relative_to(folder).as_posix()


def _list_one(folder: Path, found: Listing) -> list[Path]:
    """Add what is in a folder, but not in the folders in it; these are returned, by name."""
    if _is_zarr(folder):
        found.passed.append(Passed(folder, _ZARR))
        return []
    images: list[Path] = []
    tiffs: list[Path] = []
    folders: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.startswith("."):
                continue
            path = folder / entry.name
            try:
                reason = _reason(entry, path)
            except OSError as error:
                found.unreadable[path] = error.strerror or str(error)
                continue
            if reason in READ:
                images.append(path)
                if reason == TIFF:
                    tiffs.append(path)
            elif reason == _FOLDER:
                folders.append(path)
            else:
                found.passed.append(Passed(path, reason))
    parts = _find_parts(tiffs)
    found.passed.extend([Passed(path, TIFF, first) for path, first in parts.items()])
    found.images.extend([path for path in images if path not in parts])
    return folders


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _reason(entry: os.DirEntry[str], path: Path) -> str:
    """The format of a file, or why it is none.

    Raises:
        OSError: it can't be read.
    """
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
    with path.open("rb", buffering=0) as file:
        return identify(file.read(HEAD), suffix) or _NO_IMAGE


def is_output(folder: Path) -> bool:
    """Whether a run has written into a folder."""
    try:
        with (folder / _RUN).open("rb") as file:
            return b'"graphs"' in file.read(_RUN_HEADER) or b'"label_sha256"' in file.read()
    except OSError:
        return False


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
