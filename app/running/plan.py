"""What a run is to do: its images, their outputs, what is done already, memory for each."""

import os
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from ..files.folder import (
    Listing,
    describe_passed,
    is_output,
    list_folder,
    list_one,
    relative_name,
)
from ..files.labels import output_path
from ..settings import sha256
from .journal import DONE, FAILED, SETTLED, Record, identity
from .memory import available_memory
from .remedies import may_pass

# Images that need no more than this share of the free memory are tried however little there is.
_ALWAYS_TRIED = 0.25


class UsageError(ValueError):
    """The command can't be carried out as it was given."""


@dataclass(frozen=True)
class Job:
    """An image to segment.

    Attributes:
        source: the image.
        name: its path in the input folder, by which it is known in run.json.
        target: its label image.
        label: the path of that in the output folder.
        parts: other files in which planes of the image are.
    """

    source: Path
    name: str
    target: Path
    label: str
    parts: tuple[Path, ...] = ()

    def identity(self) -> list[int] | None:
        """What tells its files apart from others of their names, see ``identity`` of a file."""
        files = [identity(path) for path in (self.source, *self.parts)]
        return [n for file in files for n in file or ()] if files[0] else None


def list_images(source: Path, recursive: bool, output: Path) -> Listing:
    """The images of a folder, or the one file.

    Args:
        source: the folder or file.
        recursive: also of the folders in it.
        output: the output folder, which is none of these.

    Raises:
        UsageError: the path is missing, or is the output folder, or no image is there.
    """
    try:
        if source.is_file():
            return list_one(source)
        if not source.is_dir():
            what = "is neither file nor folder" if source.exists() else "no such file or folder"
            raise UsageError(f"{source}: {what}; give an image or a folder of images")
        if os.path.exists(output) and output.samefile(source):  # noqa: PTH110  # if it can be seen
            raise UsageError(
                f"{output}: is the folder of the images; give another one for the output, so that "
                "no label image is taken for an image"
            )
        if is_output(source):
            raise UsageError(
                f"{source}: is the output folder of a run, and label images are no images; "
                "give a folder of images, or one image"
            )
        listing = list_folder(source, recursive, output)
    except OSError as error:
        raise UsageError(f"{source}: can't be read ({error.strerror})") from error
    if not listing.images:
        problems = [f"{path}: {reason}" for path, reason in listing.unreadable.items()]
        found = (
            "; ".join([*describe_passed(listing, to_search="--recursive"), *problems])
            or "it is empty"
        )
        raise UsageError(f"{source}: no image in this folder ({found}); give one with images")
    return listing


def plan_jobs(listing: Listing, folder: Path) -> tuple[list[Job], dict[Job, str]]:
    """The images that are to be segmented; and those that can't be, with what is wrong.

    Raises:
        UsageError: the folder can't be written to, or an image would be overwritten.
    """
    parts = defaultdict(list)
    for item in listing.passed:
        if item.part_of:
            parts[item.path.with_name(item.part_of)].append(item.path)
    inputs = {os.path.realpath(image) for image in listing.images}
    by_target = defaultdict(list)
    for image in listing.images:
        name = relative_name(image, listing.folder)
        target = output_path(image, folder / Path(name).parent)
        job = Job(image, name, target, relative_name(target, folder), tuple(parts[image]))
        by_target[target].append(job)
    jobs: list[Job] = []
    clashes: dict[Job, str] = {}
    for target, claimants in by_target.items():
        if os.path.realpath(target) in inputs:
            raise UsageError(f"{target} is one of the images; give another folder for the output")
        if len(claimants) == 1:
            jobs += claimants
            continue
        names = " and ".join(job.source.name for job in claimants)
        all_of_them = "both" if len(claimants) == 2 else "all"
        older = f" ({target.name} is of an earlier run)" if os.path.lexists(target) else ""
        for job in claimants:
            clashes[job] = (
                f"{job.source}: {names} would {all_of_them} be written to {target.name}{older}; "
                "rename all but one"
            )
    prepare_folder(folder)
    return jobs, clashes


def prepare_folder(folder: Path) -> None:
    """Make the output folder, and see that it can be written to before any work is done.

    Raises:
        UsageError: it can't.
        OSError: it can't now, as when the disk is full.
    """
    user = os.getuid()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UsageError(f"{folder}: is no folder; give one for the output") from error
    except OSError as error:
        if may_pass(error):
            raise
        raise UsageError(f"{folder}: can't be made by user {user} ({error.strerror})") from error
    try:
        # Permissions are not the whole story: mounts are read-only, file servers have own rules.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        if may_pass(error):
            raise OSError(error.errno, error.strerror, str(folder)) from error
        raise UsageError(
            f"{folder}: user {user} can't write to this folder of user {folder.stat().st_uid} "
            f"({error.strerror}); make it writable, or run as a user who may "
            '(docker run --user "$(id -u):$(id -g)")'
        ) from error


def image_memory(limit: int | None, working_memory: int) -> int:
    """Bytes that the images themselves may take.

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
            f"--max-memory {limit / 1e6:,.0f}MB: over {working_memory / 1e6:,.0f}MB are needed, "
            "and the size of the image on top where it is no tiled TIFF; give more"
        )
    return limit - working_memory


def find_settled(
    jobs: list[Job], earlier: dict[str, Record], shared: dict[str, Record], config_hash: str
) -> dict[str, Record]:
    """Records of the images that need not be looked at, by name.

    Args:
        jobs: all images.
        earlier: records of earlier runs, whose outputs are kept if they are still valid.
        shared: records of the runs at work, this one's earlier processes among them.
        config_hash: of everything that an output depends on beside the image.
    """
    settled = {}
    for job in jobs:
        record = shared.get(job.name, {})
        if is_settled(record, job):
            settled[job.name] = record
        elif is_valid(earlier.get(job.name, {}), job, config_hash):
            settled[job.name] = earlier[job.name]
    return settled


def is_settled(record: Record, job: Job) -> bool:
    """Whether a run at work has settled an image, and its label image is still there."""
    if record.get("status") not in SETTLED or record.get("file") != job.identity():
        return False
    return record["status"] == FAILED or job.target.exists()


def of_other_images(earlier: dict[str, Record], jobs: list[Job]) -> tuple[list[Record], list[str]]:
    """What earlier runs have made of images that are none of these.

    Returns:
        Their records; and warnings of label images that will be replaced by those of these.
    """
    names, labels = {job.name for job in jobs}, {job.label: job.name for job in jobs}
    others = [r for name, r in earlier.items() if name not in names and r["status"] in SETTLED]
    replaced = [r for r in others if r.get("label") in labels]
    return [r for r in others if r not in replaced], [
        f"{r['label']} is that of {r['image']}; that of {labels[r['label']]} takes its place"
        for r in replaced
    ]


def is_valid(record: Record, job: Job, config_hash: str) -> bool:
    """Whether an output is there, unchanged since it was made in the same way of the same file."""
    try:
        return (
            record.get("status") == DONE
            and record.get("config") == config_hash
            # One that is gone can't be done anew; what was made of it stays.
            and (record.get("file") == job.identity() or not job.source.exists())
            and record.get("label_sha256") == sha256(job.target)
            and all(
                job.target.with_name(Path(path).name).stat().st_size
                for path in (record.get("results") or {}).values()
            )
        )
    except OSError:
        return False
