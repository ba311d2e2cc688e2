"""What a run is to do: its images, their outputs, what is done already, memory for each."""

import os
import tempfile
from collections import defaultdict
from pathlib import Path

from ..files.arrays import size_text
from ..files.folder import describe_passed, list_folder
from ..files.labels import output_path
from ..settings import sha256
from .journal import DONE, SETTLED, Record, identity
from .memory import available_memory

# Images that need no more than this share of the free memory are tried however little there is.
_ALWAYS_TRIED = 0.25


class UsageError(ValueError):
    """The command can't be carried out as it was given."""


def list_images(source: Path) -> tuple[list[Path], list[str]]:
    """The images of a folder, or the one file; and what is passed over, in lines.

    Raises:
        UsageError: the path is missing, or no image is in the folder.
    """
    try:
        if source.is_file():
            return [source], []
        if not source.is_dir():
            raise UsageError(
                f"{source}: no such file or folder; give an image or a folder of images"
            )
        listing = list_folder(source)
    except OSError as error:
        raise UsageError(f"{source}: can't be read ({error.strerror})") from error
    passed_over = describe_passed(listing.passed)
    if not listing.images:
        found = "; ".join(passed_over) or "it is empty"
        raise UsageError(f"{source}: no image in this folder ({found}); give one with images")
    return listing.images, passed_over


def plan_outputs(images: list[Path], folder: Path) -> tuple[dict[Path, Path], dict[Path, str]]:
    """The output file of each image; and the images that would share one, with what is wrong.

    Raises:
        UsageError: the folder can't be written to, or an image would be overwritten.
    """
    inputs = {image.resolve() for image in images}
    sources = defaultdict(list)
    for image in images:
        sources[output_path(image, folder)].append(image)
    targets: dict[Path, Path] = {}
    clashes: dict[Path, str] = {}
    for target, claimants in sources.items():
        if target.resolve() in inputs:
            raise UsageError(f"{target} is one of the images; give another folder for the output")
        if len(claimants) == 1:
            targets[claimants[0]] = target
            continue
        names = " and ".join(image.name for image in claimants)
        all_of_them = "both" if len(claimants) == 2 else "all"
        for image in claimants:
            clashes[image] = (
                f"{image}: {names} would {all_of_them} be written to {target.name}; rename all "
                "but one"
            )
    prepare_folder(folder)
    return targets, clashes


def prepare_folder(folder: Path) -> None:
    """Make the output folder, and see that it can be written to before any work is done.

    Raises:
        UsageError: it can't.
    """
    user = os.getuid()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: can't be made by user {user} ({error.strerror})") from error
    try:
        # Permissions are not the whole story: mounts are read-only, file servers have own rules.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(
            f"{folder}: user {user} can't write to this folder of user {folder.stat().st_uid} "
            f"({error.strerror}); make it writable, or run as a user who may "
            '(docker run --user "$(id -u):$(id -g)")'
        ) from error


def image_memory(limit: int | None, working_memory: int) -> int:
    """Bytes that an image itself may take.

    Args:
        limit: bytes for the whole process, as the user gave it; None for all that is free.
        working_memory: bytes that prediction takes beside the image.

    Raises:
        UsageError: the user's limit is too low for any image.
    """
    if limit is None:
        free = available_memory()
        return max(free - working_memory, int(_ALWAYS_TRIED * free))
    if limit <= working_memory:
        raise UsageError(
            f"--max-memory {size_text(limit)}: {size_text(working_memory)} are needed for any "
            "image, and its own size on top where it is no tiled TIFF; give more"
        )
    return limit - working_memory


def find_settled(
    targets: dict[Path, Path],
    earlier: dict[str, Record],
    shared: dict[str, Record],
    config_hash: str,
) -> dict[str, Record]:
    """Records of the images that need not be looked at, by name.

    Args:
        targets: images and their outputs.
        earlier: records of earlier runs, whose outputs are kept if they are still valid.
        shared: records of the runs at work, this one's earlier processes among them.
        config_hash: of everything that an output depends on beside the image.
    """
    settled = {}
    for source, target in targets.items():
        record = earlier.get(source.name, {})
        if shared.get(source.name, {}).get("status") in SETTLED:
            settled[source.name] = shared[source.name]
        elif is_valid(record, source, target, config_hash):
            settled[source.name] = record
    return settled


def is_valid(record: Record, source: Path, target: Path, config_hash: str) -> bool:
    """Whether an output is there, unchanged since it was made in the same way of the same file."""
    try:
        return (
            record.get("status") == DONE
            and record.get("config") == config_hash
            and record.get("file") == identity(source)
            and record.get("label_sha256") == sha256(target)
        )
    except OSError:
        return False
