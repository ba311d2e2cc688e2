# mypy: allow-untyped-calls
"""A slide by the workers of a Dask cluster on this machine: equal bytes, time, memory.

    python -m benchmarks.workers [--megapixels 20] [--threads 1 2] [--workers 1 2 4]
                                 [--precision float] [--kill] [--keep FOLDER]

The slide is that of benchmarks.memory, which tells how much disk it takes. It is segmented by
python -m app with some numbers of threads (--threads without a number: not at all), then by python
-m cluster.slide with some numbers of workers, of one thread each. With --kill a worker is killed as
it begins its second part of each kind (its first of "choose").

Columns of the table: seconds by stage, as run.json has them ("look" of workers has the survey), and
of the whole command; seconds of the CPU that the command, the workers and the scheduler took, which
say more where other programs are at work; the highest resident memory of the command and of any
worker; of the scheduler, which is looked at every second, what it took before, the highest, and how
much more it took in the last quarter of the time than in the second one; whether the label image is
that of the first line, byte for byte. The exit status is 0 if all are.
"""

import argparse
import filecmp
import json
import math
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from distributed import Client, LocalCluster

from app.running.journal import RUN_FILE
from app.running.memory import peak_memory
from benchmarks.memory import DENSE, ROOT, SIZES, SPARSE, SPARSE_FROM, make_image
from tests.system.worker_killer import WorkerKiller
from training.report.markdown import head, line

STAGES = ("survey", "look", "detect", "segment", "write")
PHASES = ["find", "outline", "draw"]
CPU = ("command", "workers", "scheduler")
TITLES = (
    "by",
    "cells",
    *(f"{stage}, s" for stage in STAGES),
    "in all, s",
    *(f"CPU of {who}, s" for who in CPU),
    "CPU, s",
    "command, GB",
    "worker, GB",
    "scheduler before, GB",
    "highest, GB",
    "grows by, GB",
    "equal",
)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megapixels", type=int, default=20)
    parser.add_argument("--threads", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--precision", choices=("auto", "int8", "float"), default="auto")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--keep", type=Path, metavar="FOLDER")
    options = parser.parse_args()
    print(head(TITLES), flush=True)
    with nullcontext(options.keep) if options.keep else tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        image = find_image(folder, options.megapixels)
        more = ["--device", "cpu", "--precision", options.precision]
        made: list[Path] = []
        for threads in options.threads:
            output = folder / f"threads{threads}"
            where = [str(image), str(output), "--threads", str(threads)]
            made.append(tell(f"{threads} threads", ["app", *where, *more], output, None, made))
        for count in options.workers:
            output = folder / f"workers{count}"
            with started(count, folder / f"marks{count}" if options.kill else None) as client:
                address = str(client.scheduler_info()["address"])
                given = ["cluster.slide", address, str(image), str(output), *more]
                made.append(tell(f"{count} workers", given, output, client, made))
        return 0 if all(is_equal(label, made[0]) for label in made) else 1


def find_image(folder: Path, size: int) -> Path:
    """The slide of some megapixels in a folder; made where it isn't there."""
    image = folder / f"repeated{size}.tiff"
    if not image.exists():
        side = round(math.sqrt(size * 1e6))
        sample = DENSE if size < SPARSE_FROM else SPARSE
        make_image(image, SIZES.get(size, (side, side)), *sample)
    return image


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


def tell(
    name: str, command: list[str], output: Path, client: Client | None, made: list[Path]
) -> Path:
    """Run a command and print its line; returns the path of its label image.

    Args:
        name: of the line.
        command: module and arguments.
        output: its output folder.
        client: of the cluster, if one does the work.
        made: the label images of the lines before.
    """
    before = cpu_seconds(client)
    began = time.monotonic()
    with Memory() as scheduler:  # which is in this process
        process = subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} ended with status {process.returncode}")
    after = cpu_seconds(client)
    (record,) = json.loads((output / RUN_FILE).read_text())["images"]
    label = output / str(record["label"])
    stages: dict[str, Any] = record["seconds"]
    cells = [name, f"{record['instances']:,}"]
    cells += [f"{stages[stage]:.1f}" if stage in stages else "" for stage in STAGES]
    cpu = [usage.ru_utime + usage.ru_stime]
    cpu += [late - early for late, early in zip(after, before, strict=True)]
    cells += [f"{seconds:.1f}", *(f"{each:.1f}" for each in cpu), f"{sum(cpu):.1f}"]
    sizes: list[float] = [usage.ru_maxrss * 1024]
    if client is not None:
        sizes.append(max(client.run(peak_memory).values()))
        sizes += [scheduler.sizes[0], max(scheduler.sizes), scheduler.growth]
    cells += [*(f"{size / 1e9:.2f}" for size in sizes), *[""] * (5 - len(sizes))]
    cells.append("yes" if is_equal(label, (made or [label])[0]) else "NO")
    print(line(cells), flush=True)
    return label


def is_equal(label: Path, other: Path) -> bool:
    """Whether two files have the same bytes; they are read in blocks."""
    return filecmp.cmp(label, other, shallow=False)


def cpu_seconds(client: Client | None) -> tuple[float, float]:
    """Of the workers and the scheduler so far; of workers that were killed they are lost."""
    of_workers = 0.0 if client is None else sum(client.run(time.process_time).values())
    return of_workers, time.process_time()


@dataclass
class Memory:
    """The resident memory of this process while the ``with`` block goes on, every second.

    Attributes:
        sizes: bytes.
    """

    sizes: list[int] = field(default_factory=list)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self.sizes.append(resident_memory())
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self.sizes.append(resident_memory())

    def _look(self) -> None:
        while not self._ended.wait(1):
            self.sizes.append(resident_memory())

    @property
    def growth(self) -> float:
        """By how many bytes the mean of the last quarter is above that of the second one."""
        quarter = max(1, len(self.sizes) // 4)
        second, last = self.sizes[quarter : 2 * quarter], self.sizes[-quarter:]
        return statistics.mean(last) - statistics.mean(second)


def resident_memory() -> int:
    """Bytes of this process that are in memory."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(re.findall(r"VmRSS:\s*(\d+) kB", status)[0])


if __name__ == "__main__":
    sys.exit(main())
