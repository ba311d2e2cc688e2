# mypy: allow-untyped-calls
"""A slide by the workers of a Dask cluster on this machine: equal bytes, time, memory.

    python -m benchmarks.workers [--megapixels 20] [--workers 1 2 4] [--precision float] [--kill]
                                 [--keep FOLDER]

The slide is that of benchmarks.memory. It is segmented by python -m app with one and with two
threads, then by python -m cluster.slide with some numbers of workers, of one thread each. With
--kill a worker is killed as it begins its second part of each kind (its first of "choose").

Columns of the table: seconds by stage, as run.json has them ("look" of workers has the survey), and
of the whole command; seconds of the CPU that the command, the workers and the scheduler took
together, which say more where other programs are at work; the highest resident memory of the
command, of any worker and of the scheduler, and what the scheduler took before; whether the label
image is that of the first line. The exit status is 0 if all are.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from distributed import Client, LocalCluster

from app.running.journal import RUN_FILE
from app.running.memory import peak_memory
from app.settings import sha256
from benchmarks.memory import DENSE, ROOT, SIZES, SPARSE, SPARSE_FROM, make_image
from tests.system.worker_killer import WorkerKiller

STAGES = ("survey", "look", "detect", "segment", "write")
PHASES = ["find", "outline", "draw"]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=int, default=20)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--precision", choices=("auto", "int8", "float"), default="auto")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    titles = [
        "by",
        "cells",
        *(f"{stage}, s" for stage in STAGES),
        "command, s",
        "CPU, s",
        "command, GB",
    ]
    titles += ["worker, GB", "scheduler, GB", "before, GB", "equal"]
    print("| " + " | ".join(titles) + " |\n" + "| --- " * len(titles) + "|", flush=True)
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        size = options.megapixels
        image = folder / f"repeated{size}.tiff"
        if not image.exists():
            side = round(math.sqrt(size * 1e6))
            sample = DENSE if size < SPARSE_FROM else SPARSE
            make_image(image, SIZES.get(size, (side, side)), *sample)
        first = ""
        equal = True
        more = ["--device", "cpu", "--precision", options.precision]
        for threads in (1, 2):
            output = folder / f"threads{threads}"
            where = [str(image), str(output), "--threads", str(threads)]
            hash_ = tell(f"{threads} threads", ["app", *where, *more], output, None, first)
            first = first or hash_
            equal &= hash_ == first
        for count in options.workers:
            output = folder / f"workers{count}"
            with started(count, folder / f"marks{count}" if options.kill else None) as client:
                address = str(client.scheduler_info()["address"])
                given = ["cluster.slide", address, str(image), str(output), *more]
                equal &= tell(f"{count} workers", given, output, client, first) == first
    return 0 if equal else 1


@contextmanager
def started(count: int, marks: Path | None) -> Iterator[Client]:
    """A cluster of processes with one thread each; with ``marks`` some are killed."""
    with (
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster.scheduler_address) as client,
    ):
        if marks is not None:
            marks.mkdir(exist_ok=True)
            for mark in marks.iterdir():
                mark.unlink()
            client.register_plugin(WorkerKiller(["choose"], 1, marks), name="first")
            client.register_plugin(WorkerKiller(PHASES, 2, marks), name="second")
        yield client


def tell(name: str, command: list[str], output: Path, client: Client | None, first: str) -> str:
    """Run a command and print its line; returns the hash of its label image."""
    before = peak_memory()  # the scheduler is in this process
    cpu = cpu_seconds(client)
    began = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    (record,) = json.loads((output / RUN_FILE).read_text())["images"]
    hash_ = sha256(output / record["label"])
    stages: dict[str, Any] = record["seconds"]
    cells = [name, f"{record['instances']:,}"]
    cells += [f"{stages[stage]:.1f}" if stage in stages else "" for stage in STAGES]
    cpu = cpu_seconds(client) - cpu + usage.ru_utime + usage.ru_stime
    cells += [f"{seconds:.1f}", f"{cpu:.1f}", f"{usage.ru_maxrss * 1024 / 1e9:.2f}"]
    if client is None:
        cells += ["", "", ""]
    else:
        highest = max(client.run(peak_memory).values())
        cells += [f"{size / 1e9:.2f}" for size in (highest, peak_memory(), before)]
    cells.append("yes" if hash_ == (first or hash_) else "NO")
    print("| " + " | ".join(cells) + " |", flush=True)
    return hash_


def cpu_seconds(client: Client | None) -> float:
    """Of the workers and the scheduler so far; of workers that were killed they are lost."""
    of_workers = 0.0 if client is None else sum(client.run(time.process_time).values())
    return time.process_time() + of_workers


if __name__ == "__main__":
    sys.exit(main())
