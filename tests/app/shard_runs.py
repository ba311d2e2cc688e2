"""Shards on the command line, and what they leave."""

from pathlib import Path

from app.running.merge import merge
from app.running.options import parse_merge
from app.running.shard_number import SHARDS_FOLDER
from tests.app.command_line import report, run_in

OF_A_RUN = ("run", "time", "seconds", "peak_memory")  # what differs from run to run


def shard(folder, text, *more) -> int:
    return run_in(folder, "--shard", text, *more)


def merged(folder) -> int:
    return merge(parse_merge([str(folder / "out")]))


def images(folder) -> list[dict]:
    """Of run.json, without what differs from run to run."""
    found = report(folder)[0]["images"]
    return [{key: r[key] for key in r if key not in OF_A_RUN} for r in found]


def shards_folder(folder) -> Path:
    return folder / "out" / SHARDS_FOLDER
