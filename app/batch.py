"""A run of the command line: what is to be done, what is done already, what is left behind."""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from app.journal import DONE, FAILED, SETTLED, STARTED, Journal, Record, identity, read_records
from app.look import Wanted
from app.loop import do_all, find_small, segment_one
from app.machine import available_memory
from app.pixels import size_text
from app.predict import Predictor
from app.read import SUFFIXES, find_images
from app.session import DeviceError
from app.settings import SettingsError, sha256
from app.tell import messages
from app.write import output_path

# Images that need no more than this share of the free memory are tried however little there is.
_ALWAYS_TRIED = 0.25
# Options by which the user chooses how images are shown.
_BY_HAND = ("channels", "percentiles", "levels", "diameter", "magnification")


class UsageError(ValueError):
    """The command can't be carried out as it was given."""


def run(options: argparse.Namespace, *, goes_on: bool = False) -> int:
    """Segment the images that the command line names; returns the exit status.

    Args:
        options: as ``app.__main__.parse`` gives them.
        goes_on: an earlier process of this very run has crashed; what it settled stays so.
    """
    by_hand = {name: getattr(options, name) for name in _BY_HAND}
    try:
        targets = plan_outputs(list_images(options.input), options.output)
        wanted = Wanted(**{name: by_hand[name] for name in _BY_HAND if name != "channels"})
        predictor = Predictor(
            options.weights, options.device, options.threads, wanted, options.channels
        )
        most_bytes = image_memory(options.max_memory, predictor.settings.working_memory)
    except (UsageError, SettingsError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    way = {
        "settings": dataclasses.asdict(predictor.settings),
        "graphs": predictor.graphs,
        "stack": options.stack,
        **by_hand,
    }
    way_hash = hashlib.sha256(json.dumps(way, sort_keys=True).encode()).hexdigest()
    settled = find_settled(targets, way_hash, resume=options.resume, goes_on=goes_on)
    try:
        journal = Journal(options.output, settled.values())
    except OSError as error:
        print(f"error: {options.output}: can't be written to ({error.strerror})", file=sys.stderr)
        return 2
    where = f"{predictor.provider} ({', '.join(predictor.graphs)}), {options.threads} CPU threads"
    kept = f" ({len(settled)} are settled already)" if settled else ""
    print(f"segmenting {len(targets)} images on {where}{kept}", file=sys.stderr)
    waiting = [source for source in targets if source.name not in settled]
    # Beside the memory that one image takes at work, each other one needs as much.
    others = most_bytes // predictor.settings.working_memory if predictor.on_cpu else 0
    at_once = 1 if goes_on else max(1, min(options.threads, 1 + others, len(waiting)))
    together: set[Path] = set()
    if at_once > 1:
        together = find_small(waiting, options.stack, predictor.settings.window**2)

    def work(source: Path) -> Record:
        journal.append({"image": source.name, "status": STARTED})
        record = segment_one(predictor, source, targets[source], options.stack, most_bytes)
        record["way"] = way_hash
        journal.append(record)
        return record

    try:
        with tqdm(total=len(targets), initial=len(settled), unit="image", disable=None) as bar:
            for record in do_all(work, waiting, together, at_once):
                bar.update()
                for line in messages(record):
                    bar.write(line, file=sys.stderr)
    except KeyboardInterrupt:
        print("interrupted; what is done is kept, --resume goes on from it", file=sys.stderr)
        return 130
    finally:
        try:
            journal.close({**way, "provider": predictor.provider, "threads": options.threads})
        except OSError as error:
            print(f"error: run.json can't be written ({error.strerror})", file=sys.stderr)
    failed = sum(record["status"] == FAILED for record in journal.records.values())
    if failed:
        print(f"{failed} of {len(targets)} images failed, named above", file=sys.stderr)
    return int(failed > 0)


def list_images(source: Path) -> list[Path]:
    """The images of a folder, or the one file.

    Raises:
        UsageError: the path is missing, or no image is in the folder.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder; give an image or a folder of images")
    try:
        images = find_images(source)
    except OSError as error:
        raise UsageError(f"{source}: can't be read ({error.strerror})") from error
    if not images:
        raise UsageError(f"{source}: no image in this folder; wanted {', '.join(SUFFIXES)}")
    return images


def plan_outputs(images: list[Path], folder: Path) -> dict[Path, Path]:
    """The output file of each image.

    Raises:
        UsageError: the folder can't be written to, two images would share an output file, or an
            image would be overwritten.
    """
    inputs = {image.resolve() for image in images}
    sources = defaultdict(list)
    for image in images:
        sources[output_path(image, folder)].append(image)
    for target, claimants in sources.items():
        if len(claimants) > 1:
            names = " and ".join(image.name for image in claimants)
            raise UsageError(f"{names} would both be written to {target}; rename all but one")
        if target.resolve() in inputs:
            raise UsageError(f"{target} is one of the images; give another folder for the output")
    prepare_folder(folder)
    return {claimants[0]: target for target, claimants in sources.items()}


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
            f"({error.strerror}); make it writable, or run as a user who may (docker run --user)"
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
    targets: dict[Path, Path], way_hash: str, *, resume: bool, goes_on: bool
) -> dict[str, Record]:
    """Records of the images that need not be looked at, by name.

    Args:
        targets: images and their outputs, at least one.
        way_hash: of everything that an output depends on beside the image.
        resume: keep outputs of earlier runs that were made the same way and are still valid.
        goes_on: keep all that this run has settled.
    """
    folder = next(iter(targets.values())).parent
    records = read_records(folder) if resume or goes_on else {}
    if goes_on:
        return {name: record for name, record in records.items() if record["status"] in SETTLED}
    return {
        source.name: records[source.name]
        for source, target in targets.items()
        if is_valid(records.get(source.name, {}), source, target, way_hash)
    }


def is_valid(record: Record, source: Path, target: Path, way_hash: str) -> bool:
    """Whether an output is there, unchanged since it was made in the same way of the same file."""
    try:
        return (
            record.get("status") == DONE
            and record.get("way") == way_hash
            and record.get("file") == identity(source)
            and record.get("label_sha256") == sha256(target)
        )
    except OSError:
        return False
