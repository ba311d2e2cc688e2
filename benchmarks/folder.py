"""How fast a folder of small images is done: images a second, and how busy the cores are.

    python -m benchmarks.folder [--images 500] [--shares 1 2]

The images are the samples, repeated. --shares gives the numbers of processes to compare; each
process gets its share of the images and of the threads. "Busy" is the CPU time of the processes as
a share of that of all cores. It includes the time for which a thread of ONNX Runtime waits in a
loop for another one.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from app.files.open import find_images
from app.processor import available_threads
from benchmarks.memory import ROOT
from training.report.markdown import head


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--shares", type=int, nargs="+", default=[1])
    options = parser.parse_args()
    print(head(["processes", "threads each", "images", "seconds", "images a second", "busy"]))
    for shares in options.shares:
        with tempfile.TemporaryDirectory() as name:
            folders = make_folders(Path(name), options.images, shares)
            threads = max(1, available_threads() // shares)
            seconds, busy = run_all(folders, threads)
        print(
            f"| {shares} | {threads} | {options.images} | {seconds:.1f} "
            f"| {options.images / seconds:.2f} | {busy:.0%} |"
        )


def make_folders(root: Path, images: int, shares: int) -> list[Path]:
    """Links to the samples in turn, dealt out to folders."""
    samples = find_images(ROOT / "samples" / "images")
    folders = [root / str(share) for share in range(shares)]
    for folder in folders:
        folder.mkdir()
    for number in range(images):
        sample = samples[number % len(samples)]
        # Each share gets the same number of every sample.
        share = number // len(samples) % shares
        (folders[share] / f"{number}{sample.suffix}").symlink_to(sample)
    return folders


def run_all(folders: list[Path], threads: int) -> tuple[float, float]:
    """Seconds until all are done, and the share of the cores' time that was used."""
    started, before = time.monotonic(), cpu_seconds()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "app", folder, folder / "out", "--threads", str(threads)],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        for folder in folders
    ]
    statuses = [process.wait() for process in processes]
    if any(statuses):
        raise SystemExit("error: an image failed")
    seconds = time.monotonic() - started
    return seconds, (cpu_seconds() - before) / seconds / available_threads()


def cpu_seconds() -> float:
    """Of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
