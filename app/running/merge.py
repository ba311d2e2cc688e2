"""One run.json of all shards, checked against the list of images; and what is missing."""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..files.folder import list_folder, relative_name
from ..settings import sha256
from .console import counted, progress, say
from .image_list import ImageList, Listed, divide, read_list, remove_shards
from .journal import (
    DONE,
    FAILED,
    RUN_FILE,
    SETTLED,
    Record,
    abouts,
    latest,
    new_run,
    read_history,
    write_run,
)
from .plan import UsageError
from .remedies import TRY_AGAIN, describe_failure, exit_status
from .report import make_report, read_run
from .shard_number import SHARDS_FOLDER, ShardNumber, records_folder
from .shards import is_at_work

_FEW = 5  # names in a message


@dataclass
class Merged:
    """What all shards have made.

    Attributes:
        records: of the images that are settled, by name.
        missing: the names of all others, by the number of their shard.
        reasons: why those are missing that a shard says to have done.
        runs: what is to be known of each run, by its name.
    """

    records: dict[str, Record] = field(default_factory=dict)
    missing: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))
    reasons: dict[str, str] = field(default_factory=dict)
    runs: dict[str, Record] = field(default_factory=dict)


def merge(options: argparse.Namespace) -> int:
    """``merge OUTPUT``: returns the exit status, 1 where an image is missing or has failed."""
    output: Path = options.output
    try:
        listed = read_list(output)
        if listed is None:
            return _merged_already(output)
        merged = collect(output, listed)
        _write_run(output, listed, merged)
    except UsageError as error:
        say(f"error: {error}")
        return 2
    except OSError as error:
        say(f"error: {describe_failure(error, output, 'merge again')}")
        return exit_status(error)
    for line in (*_differences(merged), *_changed(listed, merged), *_later(output, listed)):
        say(f"warning: {line}")
    for line in _failed(listed, merged):
        say(f"error: {line}")
    for path, reason in listed.unreadable.items():
        say(f"error: {path}: can't be read ({reason}); make it readable, or take it away")
    for line in _missing(listed, merged):
        say(f"error: {line}")
    return _end(output, listed, merged)


def collect(output: Path, listed: ImageList) -> Merged:
    """Read the records of all shards, and see that the label images are those that they tell of.

    Raises:
        OSError: a label image can't be read.
    """
    merged = Merged()
    parts = divide(listed.images, listed.count)
    by_shard: list[dict[str, Record]] = []
    for index in range(listed.count):
        folder = records_folder(output, ShardNumber(index, listed.count))
        lines = read_history(folder) if folder.exists() else []  # of many shards few may have begun
        merged.runs |= abouts(lines)
        by_shard.append(latest(lines))
    # Tasks that come when all is merged and the list is gone begin another one, in which the images
    # of all others stand only in run.json.
    before = read_history(output)
    known, about = latest(before), abouts(before)
    configs = {record.get("config") for found in by_shard for record in found.values()} - {None}
    with progress(len(listed.images), 0) as bar:
        for index, (part, found) in enumerate(zip(parts, by_shard, strict=False)):
            for image in part:
                record = found.get(image.name, {})
                earlier = known.get(image.name, {})
                if record.get("status") not in SETTLED and _is_of(earlier, image, configs):
                    record = earlier
                problem = _problem(output, image, record)
                if problem is None:
                    merged.records[image.name] = record
                else:
                    merged.missing[index].append(image.name)
                    merged.reasons |= {image.name: problem} if problem else {}
                bar.advance()
    made = {record.get("run") for record in merged.records.values()}
    merged.runs |= {run: about[run] for run in about.keys() & made - merged.runs.keys()}
    return merged


def _is_of(record: Record, image: Listed, configs: set[Any]) -> bool:
    """Whether run.json tells of this very image, done as the shards do it."""
    made = record.get("status") == DONE and record.get("config") in configs
    return made and record.get("file") == image.file


def _problem(output: Path, image: Listed, record: Record) -> str | None:
    """Why an image is missing, "" if no shard says to have done it; None if it is settled."""
    if record.get("status") not in SETTLED:
        return ""
    try:
        if record["status"] == DONE and sha256(output / image.label) != record.get("label_sha256"):
            return f"{image.label} was changed since it was made"
    except FileNotFoundError:
        return f"{image.label} is gone"
    return None


def _write_run(output: Path, listed: ImageList, merged: Merged) -> None:
    """Write run.json, as a run does; it also names what is missing."""
    ran = [merged.runs.get(record.get("run", ""), {}) for record in merged.records.values()]
    graphs = {json.dumps(graph): graph for about in ran for graph in about.get("graphs", ())}
    missing = sorted(name for names in merged.missing.values() for name in names)
    header = listed.config | {"graphs": list(graphs.values()) or listed.config["graphs"]}
    header |= {"missing": missing} if missing else {}
    write_run(output, header, merged.runs, merged.records)


def _differences(merged: Merged) -> Iterable[str]:
    """In what the runs differ that label images may depend on, a line for each."""
    by_key: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    made = {record.get("run") for record in merged.records.values()}
    for about in (merged.runs[run] for run in sorted(merged.runs.keys() & made)):
        shard = str(about.get("shard", "no shard"))
        values = {
            "graphs": ", ".join(graph["file"] for graph in about.get("graphs", ())),
            "provider": about.get("provider"),
            "instruction sets": " ".join(about.get("instructions", ())),
            **about.get("libraries", {}),
        }
        for key, value in values.items():
            by_key[key][str(value)].add(shard)
    for key, shards in by_key.items():
        if len(shards) > 1:
            told = "; ".join(f"{value or 'unknown'} ({_some(of)})" for value, of in shards.items())
            yield f"shards differ in {key}, so label images may differ a little: {told}"


def _changed(listed: ImageList, merged: Merged) -> Iterable[str]:
    """Images that were other files when they were done than when they were listed."""
    files = {image.name: image.file for image in listed.images}
    sizes = {
        name: (file[0] if file else None, (record.get("file") or [None])[0])
        for name, record in merged.records.items()
        for file in [files[name]]
        if record["status"] == DONE
    }
    names = [name for name, (then, now) in sizes.items() if then != now]
    if names:
        yield f"not the files any more that were listed (their sizes differ): {_some(names)}"


def _later(output: Path, listed: ImageList) -> Iterable[str]:
    """Images that came when the list was made already, where its folder can be read here."""
    folder = Path(listed.input)
    try:
        found = list_folder(folder, listed.recursive, output).images if folder.is_dir() else []
    except OSError:
        return
    names = {relative_name(path, folder) for path in found} - {i.name for i in listed.images}
    if names:
        yield (
            f"{counted(len(names), 'image')} came after the list was made, and no shard has them: "
            f"{_some(names)}; run without --shard and with --resume once all is merged"
        )


def _failed(listed: ImageList, merged: Merged) -> Iterable[str]:
    for index, part in enumerate(divide(listed.images, listed.count)):
        for record in (merged.records.get(image.name, {}) for image in part):
            if record.get("status") == FAILED:
                yield f"shard {ShardNumber(index, listed.count)}: {record['error']}"


def _missing(listed: ImageList, merged: Merged) -> Iterable[str]:
    sizes = [len(part) for part in divide(listed.images, listed.count)]
    for index, names in sorted(merged.missing.items()):
        reasons = [merged.reasons[name] for name in names if name in merged.reasons]
        why = f" ({_some(reasons)})" if reasons else ""
        yield (
            f"shard {ShardNumber(index, listed.count)}: {len(names)} of "
            f"{counted(sizes[index], 'image')} missing: {_some(names)}{why}; start it again with "
            "--resume"
        )


def _end(output: Path, listed: ImageList, merged: Merged) -> int:
    """The report, the closing line, and the exit status; what no shard needs any more goes."""
    path: Path | None = output / RUN_FILE
    if "report" in listed.config["results"]:
        path = make_report(output)
    records = merged.records.values()
    done = sum(record["status"] == DONE for record in records)
    cells = sum(record.get("instances", 0) for record in records)
    total = counted(len(listed.images), "image")
    parts = [
        f"{done} of {total} done by {counted(listed.count, 'shard')} ({counted(cells, 'cell')})"
    ]
    if failed := len(records) - done:
        parts.append(f"{failed} failed, each named above")
    if missing := len(listed.images) - len(records):
        parts.append(f"{missing} missing, named in {RUN_FILE}")
    kept = output / SHARDS_FOLDER
    if failed and not missing:
        parts.append(f"to try them again start their shards with --resume, else remove {kept}")
    elif not missing and _at_work(output, listed):
        parts.append("a shard is still at work; merge again when it has ended")
    elif not missing:
        remove_shards(output, new_run())
    say("; ".join([*parts, f"see {path}"] if path else parts))
    if path is None:
        return TRY_AGAIN
    return int(bool(failed or missing or listed.unreadable))


def _at_work(output: Path, listed: ImageList) -> bool:
    """Whether a task of a shard goes on."""
    now = (output / RUN_FILE).stat().st_mtime  # just written: the file system's own clock
    shards = (ShardNumber(index, listed.count) for index in range(listed.count))
    folders = (records_folder(output, shard) for shard in shards)
    return any(is_at_work(folder, now) for folder in folders if folder.exists())


def _merged_already(output: Path) -> int:
    """What to tell where there is no list.

    Raises:
        UsageError: there were no shards either.
    """
    whole = read_run(output) if (output / RUN_FILE).exists() else {}
    runs = whole.get("runs", {}).values()
    if not any("shard" in about for about in runs):
        raise UsageError(f"{output}: no shards in this folder; give the output folder of --shard")
    say(f"all shards are merged already; see {output / RUN_FILE}")
    return int(bool(whole.get("failed")))


def _some(names: Iterable[str]) -> str:
    """The first of several names, and how many more there are."""
    ordered = sorted(names)
    more = f" and {len(ordered) - _FEW} more" if len(ordered) > _FEW else ""
    return ", ".join(ordered[:_FEW]) + more
