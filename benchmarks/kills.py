"""Whether a run survives being killed: it must end as if nothing had happened.

    python -m benchmarks.kills [--kills 20] [--seed 0] [--weights weights]

The samples, twice over, are segmented once without a disturbance. Then they are segmented again
into another folder, and the whole process group gets SIGKILL at a random moment, between the start
of the process and the third image or so. Each time the run is continued with --resume. If it ends
before it is killed, up to three label files are removed and it is started again, until all kills
are used. The last run is left alone.

Columns of the table:

- kills: how often the run was killed;
- in an image: kills at which an image had been begun and not ended;
- restarts: kills, and runs that ended before they were killed;
- labels there: label files that were there just after the kills, on average;
- equal files: label files that are in the end those of the undisturbed run;
- broken: label files that could not be read just after a kill, or differed from those of the
  undisturbed run: somebody may open them at any time;
- leftovers: files in the folder in the end that the undisturbed run does not leave.

The exit status is 0 if every file is equal, none was broken, nothing is left over and every run
that was not killed ended with status 0; else it is 1.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile

from app.files.open import find_images
from app.processor import available_threads
from app.running.journal import RUN_FILE, RUNS_FOLDER, STARTED, SUFFIX, read_records
from app.settings import WEIGHTS
from training.report.markdown import head

ROOT = Path(__file__).parent.parent
COPIES = 2
REACH = 3  # images after start-up within which the kills fall
MAX_REMOVED = 3  # label files


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        output = Path(name) / "out"
        return torment(output, options.kills, options.seed, options.weights, run)


def torment(
    killed: Path,
    wanted_kills: int,
    seed: int,
    weights: Path,
    run_until: Callable[[list[str], float], int | None],
) -> int:
    """Kill a run again and again, and print what became of it; returns the exit status.

    Args:
        killed: its output folder.
        wanted_kills: how often it is killed.
        seed: of the random moments.
        weights: folder of the weights.
        run_until: runs a command, kills it after some seconds, and returns its exit status, or None
            if it was killed.
    """
    rng = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as name:
        images, whole = (Path(name) / part for part in ("images", "whole"))
        copy_samples(images)
        command = [sys.executable, "-m", "app", str(images), "--weights", str(weights.resolve())]
        started = time.monotonic()
        statuses = [run([*command, str(whole)])]
        passed = time.monotonic() - started
        work = [sum(record["seconds"].values()) for record in read_records(whole).values()]
        busy = sum(work) / available_threads()  # as many images are worked on at once
        reach = passed - busy + REACH * busy / len(work)

        kills = inside = ended = there = 0
        broken: set[str] = set()
        while kills < wanted_kills:
            before = written(killed)
            status = run_until([*command, str(killed), "--resume"], rng.uniform(0, reach))
            if status is None:
                kills += 1
                # Else what the journal says is left from an earlier kill.
                begun = written(killed) != before
                records = read_records(killed).values()
                inside += begun and any(record["status"] == STARTED for record in records)
                there += len(list(killed.glob("*_label.tiff")))
            else:
                ended += 1
            broken |= broken_labels(killed, whole)
            if status is not None:
                remove_some(killed, rng)
        # An image that two kills have hit fails once, and is tried again by the next run.
        run([*command, str(killed), "--resume"])
        statuses.append(run([*command, str(killed), "--resume"]))

        wanted, found = contents(whole), contents(killed)
    labels = [name for name in wanted if name != RUN_FILE]
    equal = sum(found.get(name) == wanted[name] for name in labels)
    leftovers = sorted(found.keys() - wanted.keys())
    done = [record["status"] for record in read_records(killed).values()].count("done")
    titles = ["kills", "in an image", "restarts", "labels there", "equal files", "broken"]
    print(head([*titles, "leftovers", "in run.json"]))
    print(
        f"| {kills} | {inside} | {kills + ended} | {there / max(kills, 1):.1f} "
        f"| {equal} of {len(labels)} "
        f"| {', '.join(sorted(broken)) or 'none'} | {', '.join(leftovers) or 'none'} "
        f"| {done} done |"
    )
    well = equal == done == len(labels) and not (broken or leftovers or any(statuses))
    print(f"\nseconds undisturbed: {passed:.1f}; exit statuses: {set(statuses)}")
    return int(not well)


def copy_samples(folder: Path) -> None:
    folder.mkdir()
    for image in find_images(ROOT / "samples" / "images"):
        for copy in range(COPIES):
            shutil.copy(image, folder / f"{copy}-{image.name}")


def run(command: list[str], seconds: float | None = None) -> int | None:
    """Exit status of a process; None if it was killed with its group after some seconds."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()  # until the last of the group is gone
    return None if process.returncode == -signal.SIGKILL else process.returncode


def written(folder: Path) -> int:
    """When a journal in an output folder was last written, nanoseconds; 0 where there is none."""
    journals = (folder / RUNS_FOLDER).glob(f"*{SUFFIX}")
    return max((journal.stat().st_mtime_ns for journal in journals), default=0)


def broken_labels(folder: Path, whole: Path) -> set[str]:
    """Names of the label files that can't be read or differ from those of the undisturbed run."""
    broken = set()
    for path in folder.glob("*_label.tiff"):
        try:
            tifffile.imread(path)
            sound = path.read_bytes() == (whole / path.name).read_bytes()
        # Broken files make tifffile and its codecs raise nearly any exception.
        except Exception:
            sound = False
        if not sound:
            broken.add(path.name)
    return broken


def remove_some(folder: Path, rng: np.random.Generator) -> None:
    """Take none or some label files away."""
    labels = sorted(folder.glob("*_label.tiff"))
    for index in rng.choice(len(labels), rng.integers(MAX_REMOVED + 1), replace=False):
        labels[index].unlink()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


if __name__ == "__main__":
    sys.exit(main())
