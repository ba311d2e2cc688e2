"""Where the time goes, stage by stage: versions of this repository compared.

    python -m benchmarks.stages [954f67c HEAD] [--megapixels 9]

Each version, with the weights it shipped, outlines the samples and one image made of them, each
image in a run of its own, three times in turn with the other versions; the table has the median
seconds by stage, of the samples in sum and of the large image. 954f67c is the last version before
the speed was worked on.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from app.files.open import find_images
from benchmarks.memory import DENSE, ROOT, STAGES, make_image

_RUNS = 3
# "normalise" is of versions before the look, whose other stages those don't have.
_STAGES = ("normalise", *STAGES)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("versions", nargs="*", default=["954f67c", "HEAD"])
    parser.add_argument("--megapixels", type=int, default=9)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for version in options.versions:
            check_out(version, folder / version)
        side = round((options.megapixels * 1e6) ** 0.5)
        large = folder / f"{options.megapixels} megapixels.tiff"
        make_image(large, (side, side), *DENSE)
        print("| version | images | " + " | ".join(_STAGES) + " | sum | instances |")
        print("| --- " * (len(_STAGES) + 4) + "|")
        for what, images in (
            ("samples", find_images(ROOT / "samples" / "images")),
            (large.stem, [large]),
        ):
            runs = defaultdict(list)
            for _ in range(_RUNS):
                for version in options.versions:
                    records = [outline(folder / version, image) for image in images]
                    runs[version].append(records)
            for version in options.versions:
                print_row(version, what, runs[version])


def check_out(version: str, folder: Path) -> None:
    """A clone of this repository at a version."""
    clone = ["git", "clone", "--quiet", "--shared", "--no-checkout", str(ROOT), str(folder)]
    subprocess.run(clone, check=True)
    subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", version], check=True)


def outline(code: Path, image: Path) -> dict[str, float]:
    """Seconds by stage, and instances, of one image by the command line of a version."""
    with tempfile.TemporaryDirectory() as out:
        subprocess.run(
            [sys.executable, "-m", "app", image, out],
            cwd=code,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        (record,) = json.loads(Path(out, "run.json").read_text())["images"]
    seconds = {stage: record["seconds"].get(stage, 0.0) for stage in _STAGES}
    return {**seconds, "instances": record["instances"]}


def print_row(version: str, what: str, runs: list[list[dict[str, float]]]) -> None:
    """Medians over the runs of sums over the images."""

    def median(stages: tuple[str, ...]) -> float:
        return statistics.median(sum(r[s] for r in records for s in stages) for records in runs)

    seconds = [f"{median((stage,)):.2f}" for stage in _STAGES]
    print(
        f"| {version} | {what} | " + " | ".join(seconds) + f" | {median(_STAGES):.2f} "
        f"| {median(('instances',)):.0f} |",
        flush=True,
    )


if __name__ == "__main__":
    main()
