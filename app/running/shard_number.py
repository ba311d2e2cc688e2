"""Which shard of how many a process does, as the command line or a scheduler says."""

import argparse
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .journal import new_run

SHARDS_FOLDER = ".shards"  # in the output folder, until all is merged
_MOST = 100_000  # shards; no scheduler has arrays of more
# What schedulers call the number of a task in its array, and where that begins if not at 0.
_TASK_NUMBERS = {
    "SLURM_ARRAY_TASK_ID": "SLURM_ARRAY_TASK_MIN",
    "JOB_COMPLETION_INDEX": None,  # Kubernetes
    "AWS_BATCH_JOB_ARRAY_INDEX": None,
}


@dataclass(frozen=True)
class ShardNumber:
    """One of several parts of all images.

    Attributes:
        index: its number, from 0.
        count: how many parts there are.
    """

    index: int
    count: int

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def shard_number(text: str, environment: Mapping[str, str] = os.environ) -> ShardNumber:
    """Read I/N, or auto/N, with which I is the number of the task in a scheduler's array.

    Args:
        text: as it was given.
        environment: variables of the process.

    Raises:
        ArgumentTypeError: it is neither, no scheduler has set a number, there is no such shard, or
            there are too many.
    """
    found = re.fullmatch("([0-9]{1,9}|auto)/([0-9]{1,9})", text)
    if not found or not int(found[2]):
        raise argparse.ArgumentTypeError(
            f"{text}: I/N or auto/N was wanted (0/16 is the first of 16)"
        )
    if int(found[2]) > _MOST:
        raise argparse.ArgumentTypeError(f"{text}: {_MOST} shards at most were wanted")
    is_auto, count = found[1] == "auto", int(found[2])
    index = _task_number(environment) if is_auto else int(found[1])
    if not 0 <= index < count:
        task = f" in task {index} of the array, counted from 0" if is_auto else ""
        raise argparse.ArgumentTypeError(
            f"{text}{task}: 0/{count} to {count - 1}/{count} were wanted"
        )
    return ShardNumber(index, count)


def name_run(shard: ShardNumber | None) -> str:
    """A name for a run, which tells its shard if it is one's."""
    return new_run() + (f"-shard{shard.index}of{shard.count}" if shard else "")


def records_folder(output: Path, shard: ShardNumber | None) -> Path:
    """Where a run keeps its records: in the output folder, or in its shard's own in there."""
    return output / SHARDS_FOLDER / str(shard.index) if shard else output


def _task_number(environment: Mapping[str, str]) -> int:
    for name, first in _TASK_NUMBERS.items():
        if name in environment:
            values = {each: environment.get(each, "") for each in (name, first) if each}
            if not all(re.fullmatch("[0-9]{1,9}", value) for value in values.values()):
                given = " and ".join(f"{each}={value}" for each, value in values.items())
                raise argparse.ArgumentTypeError(f"auto: {given}: numbers from 0 were wanted")
            task, *least = map(int, values.values())
            return task - sum(least)
    raise argparse.ArgumentTypeError(
        f"auto: none of {', '.join(_TASK_NUMBERS)} is set; start this as a task of an array, or "
        "give the number of the shard"
    )
