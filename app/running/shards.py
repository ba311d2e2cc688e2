"""Shards: all images divided among tasks that run whenever a scheduler starts them.

The first task to come writes OUTPUT/.shards/list.json, from which every task takes its part. So
they agree on the parts whatever becomes of the folder of images. In OUTPUT/.shards/I shard I keeps
the records that a run keeps in its output folder (running/sharing.py); ``merge`` makes one of all.
"""

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..files.folder import Listing, Passed
from ..processor import kernel_text
from ..settings import FILE_NAME, sha256
from .console import say
from .image_list import ImageList, Listed, await_list, divide, read_list, write_list
from .journal import RUN_FILE, RUNS_FOLDER, SETTLED, Record, latest, read_history
from .lease import LEASE_SUFFIX, is_alive
from .plan import Job, UsageError, list_images, plan_jobs, prepare_folder
from .report import read_run
from .shard_number import SHARDS_FOLDER, records_folder

# Of processors: those that change which code of the networks' runtime and of OpenCV runs.
_INSTRUCTIONS = {"sse4_2", "avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx_vnni"} | {
    *("avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8", "amx_bf16"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
}


@dataclass(frozen=True)
class Found:
    """Images that are to be done.

    Attributes:
        listing: where they are, and what was passed over.
        jobs: those that can be segmented.
        clashes: those that can't be, with what is wrong.
    """

    listing: Listing
    jobs: list[Job]
    clashes: dict[Job, str]


def find_images(options: argparse.Namespace) -> Found:
    """All images of the command line: with shards those of the list, where that is made already.

    Raises:
        UsageError: there is none, the output folder can't be written to, or runs and shards would
            meet in it.
    """
    output: Path = options.output
    if options.shard is None:
        if (output / SHARDS_FOLDER).exists():
            raise UsageError(
                f"{output}: its images are divided among shards; merge these first (merge "
                f"{output}), give another folder, or remove {output / SHARDS_FOLDER}"
            )
    elif is_at_work(output, time.time()):
        raise UsageError(
            f"{output}: a run without --shard is at work in this folder; wait for it, or give "
            "another folder"
        )
    elif listed := read_list(output):
        if not options.input.exists():
            raise UsageError(f"{options.input}: no such file or folder; give that of the images")
        prepare_folder(output)
        return _found(options, listed, listed.images, {}, [])
    listing = list_images(options.input, options.recursive, output)
    return Found(listing, *plan_jobs(listing, output))


def take_part(options: argparse.Namespace, found: Found, config: Record, run: str) -> Found:
    """The images of one shard, by the list, which the first task to come writes.

    Args:
        options: of the command line, with ``--shard``.
        found: all images.
        config: all that the outputs depend on beside the image.
        run: name of this one.

    Raises:
        UsageError: the list, or what was merged of shards before, is of other ones.
        OSError: the list can't be written or read.
    """
    output, shard = options.output, options.shard
    mine = _without_images(options, config)
    listed = read_list(output)
    if listed is None:
        if options.resume:
            _compare_merged(mine, output)
        write_list(output, _with_images(mine, found), run)
        listed = await_list(output)
    _compare(listed, mine, output)
    records_folder(output, shard).mkdir(exist_ok=True)
    parts = divide(listed.images, listed.count)
    part = parts[shard.index] if shard.index < len(parts) else []
    # One shard has to tell of what can't be read, and always the same one.
    unreadable = listed.unreadable if shard.index == 0 else {}
    return _found(options, listed, part, unreadable, found.listing.passed)


def about_shard(options: argparse.Namespace, config: Record) -> Record:
    """What is to be known of a shard's run beside what is of any: what may differ from others'."""
    about = {"shard": str(options.shard), "instructions": instruction_sets()}
    return {**about, "graphs": config["graphs"]}


def earlier_records(output: Path, jobs: list[Job], own: dict[str, Record]) -> dict[str, Record]:
    """What is known of a shard's images: by the shard itself, else by run.json.

    Args:
        output: the output folder.
        jobs: of the shard.
        own: the last record of each image that the shard knows.
    """
    settled = {name: record for name, record in own.items() if record["status"] in SETTLED}
    known = latest(read_history(output)) | settled
    return {job.name: known[job.name] for job in jobs if job.name in known}


def is_at_work(folder: Path, now: float) -> bool:
    """Whether a run goes on that keeps its records in a folder; ``now`` as for ``is_alive``."""
    return any(is_alive(lease, now) for lease in (folder / RUNS_FOLDER).glob(f"*{LEASE_SUFFIX}"))


def _without_images(options: argparse.Namespace, config: Record) -> ImageList:
    """What this task would have the shards agree in."""
    return ImageList(
        options.shard.count,
        str(options.input.absolute()),
        options.recursive,
        sha256(options.weights / FILE_NAME),
        json.loads(json.dumps(config)),  # as it is when it was read
        [],
        {},
    )


def _with_images(terms: ImageList, found: Found) -> ImageList:
    problems = dict.fromkeys(found.jobs, "") | found.clashes
    images = [
        Listed(j.name, j.label, j.identity(), why, [part.name for part in j.parts])
        for j, why in problems.items()
    ]
    return replace(
        terms,
        images=sorted(images, key=lambda image: image.name),
        unreadable={str(path): reason for path, reason in found.listing.unreadable.items()},
    )


def _compare(listed: ImageList, mine: ImageList, output: Path) -> None:
    """See that a task belongs to the shards of an output folder.

    Raises:
        UsageError: it doesn't.
    """
    anew = f"give another folder, or, to begin anew, remove {output / SHARDS_FOLDER}"
    anew += f" and {output / RUN_FILE}" if (output / RUN_FILE).exists() else ""
    if listed.count != mine.count:
        raise UsageError(
            f"{output}: its images are divided among {listed.count} shards, not {mine.count}; "
            f"give --shard I/{listed.count}; or {anew}"
        )
    keys = listed.config.keys() | mine.config.keys()
    # Which graphs run depends on the processor; merge tells where that differs.
    others = {k for k in keys - {"graphs"} if listed.config.get(k) != mine.config.get(k)}
    others |= {k for k in ("recursive", "weights") if getattr(listed, k) != getattr(mine, k)}
    if others:
        names = ", ".join(sorted(others))
        raise UsageError(
            f"{output}: its shards were begun with other options, weights or version than this "
            f"one ({names}); give the same; or {anew}"
        )
    if listed.input != mine.input:
        say(
            f"warning: the images were listed in {listed.input}, and are read from {mine.input}; "
            "they have to be the same"
        )


def _compare_merged(mine: ImageList, output: Path) -> None:
    """See that a task that comes when all is merged, and would begin new shards, goes with that.

    Else its part alone would be done anew, and merging would find all other images missing.

    Raises:
        UsageError: it doesn't.
    """
    try:
        whole = read_run(output)
    except UsageError:  # there is none, or no image counts as done by it
        return
    if any("shard" in about for about in whole.get("runs", {}).values()):
        others = {k for k in mine.config.keys() - {"graphs"} if whole.get(k) != mine.config[k]}
        if others:
            raise UsageError(
                f"{output}: its shards are merged, and were done with other options, weights or "
                f"version than this one ({', '.join(sorted(others))}); give the same; or give "
                f"another folder, or, to begin anew, remove {output / RUN_FILE}"
            )


def _found(
    options: argparse.Namespace,
    listed: ImageList,
    images: list[Listed],
    unreadable: Mapping[str, str],
    passed: Sequence[Passed],
) -> Found:
    """Images of the list, where they are on this machine."""
    source = options.input
    folder = source.parent if source.is_file() else source
    jobs = {}
    for image in images:
        path = folder / image.name
        parts = tuple(path.with_name(name) for name in image.parts)
        jobs[Job(path, image.name, options.output / image.label, image.label, parts)] = image
    listing = Listing(
        folder,  # by which this task found what was passed over
        passed=list(passed),
        unreadable={Path(path): reason for path, reason in unreadable.items()},
    )
    clashes = {job: image.problem for job, image in jobs.items() if image.problem}
    return Found(listing, [job for job in jobs if job not in clashes], clashes)


def instruction_sets(cpuinfo: Path = Path("/proc/cpuinfo")) -> list[str]:
    """Which of those that matter the processor has, by name."""
    flags = re.search(r"^(?:flags|Features)\s*: (.*)$", kernel_text(cpuinfo), re.MULTILINE)
    return sorted(_INSTRUCTIONS & set(flags[1].split())) if flags else []
