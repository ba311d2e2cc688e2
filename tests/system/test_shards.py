"""Shards as tasks of a scheduler: two hundred images, and tasks that are killed again and again."""

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from app.running.journal import RUNS_FOLDER, STARTED, SUFFIX, read_lines
from app.running.shard_number import SHARDS_FOLDER
from tests.app.command_line import arguments, labels, outputs, picture, report, run_in, write
from tests.app.crashing import GUARD, errors_of, start, wait_for

IMAGES, KILLS, SHARDS = 200, 20, 4
OF_A_RUN = ("run", "time", "seconds", "peak_memory")  # what differs from run to run
# So that a kill finds a task at work.
SLOW = """
import time
from app.predict import Predictor
honest = Predictor.predict_file
def slow(self, *rest):
    time.sleep(0.02)
    return honest(self, *rest)
Predictor.predict_file = slow
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with all images in ``in``, and in ``out`` what one run makes of them."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "in").mkdir()
    for n in range(IMAGES):
        image = np.tile(picture(60 + n % 190), (1 + n % 3, 1 + n % 4))
        write(folder / "in" / f"{n:03}.{'tif' if n % 3 else 'png'}", image)
    assert run_in(folder) == 0
    return folder


@pytest.fixture
def many(alone, tmp_path):
    """With the same images in ``in``."""
    (tmp_path / "in").symlink_to(alone / "in")
    return tmp_path


def task(folder: Path, shard: str) -> int:
    given = arguments(folder / "in", folder / "out", "--shard", shard, "--resume")
    command = [sys.executable, "-m", "app", *given]
    return subprocess.run(command, capture_output=True, timeout=GUARD).returncode


def merge(folder: Path) -> tuple[int, str]:
    """Exit status, and what is told."""
    command = [sys.executable, "-m", "app", "merge", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=GUARD)
    return done.returncode, done.stderr


def images(folder: Path) -> list[dict]:
    found = report(folder)[0]["images"]
    return [{key: r[key] for key in r if key not in OF_A_RUN} for r in found]


@pytest.mark.parametrize("count", [1, pytest.param(4, marks=pytest.mark.smoke), 16])
def test_shards_make_what_one_run_makes(count, alone, many):
    with ThreadPoolExecutor(4) as pool:  # all at once, so that each tries to write the list
        statuses = list(pool.map(lambda n: task(many, f"{n}/{count}"), range(count)))
    assert statuses == [0] * count
    assert not (many / "out" / "run.json").exists()
    status, told = merge(many)
    assert status == 0 and "200 of 200 images done" in told and "warning" not in told
    assert labels(many) == labels(alone) and len(labels(many)) == IMAGES
    assert images(many) == images(alone)
    assert outputs(many / "out") == outputs(alone / "out")
    assert len(report(many)[0]["runs"]) == count


def test_twenty_kills_cost_nothing(alone, many):
    rng = np.random.default_rng(0)
    whole, interrupted = labels(alone), 0
    for _ in range(KILLS // 2):
        since, two = time.time(), rng.integers(SHARDS, size=2)  # now and then of one shard
        tasks = [start(many, "pass", "--shard", f"{n}/4", "--resume", before=SLOW) for n in two]
        for one, images_begun in zip(tasks, np.cumsum(rng.integers(1, 8, size=2)), strict=True):
            wait_for(partial(has_begun, many, since, images_begun))
            assert one.poll() is None, errors_of(one)
            one.kill()
        for one in tasks:
            errors_of(one)  # until the last of its processes is gone
        last = {line["image"]: line["status"] for line in journal(many, since)}
        interrupted += STARTED in last.values()
        found = labels(many)
        assert found == {name: whole[name] for name in found}  # none is broken, at any time
    assert interrupted > KILLS // 4  # of the rounds: kills found images at work

    status, told = merge(many)
    missing = set(report(many)[0]["missing"])
    made = {record["image"] for record in images(many)}
    names = {path.name for path in (alone / "in").iterdir()}
    assert status == 1 and 0 < len(missing) < IMAGES and f"{len(missing)} missing" in told
    assert missing | made == names and not missing & made
    assert {name for name in names if f"{Path(name).stem}_label.tiff" not in found} <= missing

    for _ in range(2):  # an image that two kills have hit fails once, and is tried again
        statuses = [task(many, f"{n}/{SHARDS}") for n in range(SHARDS)]
        assert set(statuses) <= {0, 1}
    assert statuses == [0] * SHARDS
    assert merge(many)[0] == 0
    assert labels(many) == whole and images(many) == images(alone)
    assert outputs(many / "out") == outputs(alone / "out")


def journal(folder: Path, since: float) -> list[dict]:
    """The lines about images in the journals of all shards, from a time on."""
    paths = (folder / "out" / SHARDS_FOLDER).glob(f"*/{RUNS_FOLDER}/*{SUFFIX}")
    lines = [line for path in sorted(paths) for line in read_lines(path)[0] if "image" in line]
    return [line for line in lines if line["time"] > since]


def has_begun(folder: Path, since: float, images: int) -> bool:
    return [line["status"] for line in journal(folder, since)].count(STARTED) >= images
