"""What choosing how an image is shown costs: seconds of whole processes, without and with it.

    python -m benchmarks.look_cost [DATA] [--every 8] [--runs 5] [--megapixels 9 88]

Each image is segmented by fresh processes of ``python -m app``, in turn with the weights as they
are and with a copy of their settings that shows every image in the usual way (``look_pixels`` 0);
medians of --runs. Images are every --every-th of split ``val`` of DATA, by size, the probe images
that were slowest to choose for (``SLOW``), the samples, and samples repeated to --megapixels (once
each from 30 megapixels on). The last lines are what limits were set for.
"""

import argparse
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from app.files.open import find_images
from app.running.journal import RUN_FILE, Record
from app.settings import FILE_NAME, WEIGHTS
from benchmarks.memory import DENSE, ROOT, SIZES, SPARSE, make_image
from training.layout import read_split
from training.report.markdown import head

# Parts of names: the detector is unsure of these, or they are enlarged.
SLOW = (
    "itmo_huh7_phase-H_0",
    "coelho2009_nuclei-gnf-dna-10",
    "bf2_dic_bbbc009_rbc-6hr",
    "neurips22_train_dic-10086",
)
_ONCE_FROM = 30  # megapixels
_SMALL = 1e6  # pixels


@dataclass(frozen=True)
class Cost:
    """Seconds of one image without and with a choice; whether it was shown in the usual way."""

    name: str
    shape: tuple[int, int]
    usual: bool
    before: float
    after: float
    of_val: bool

    @property
    def added(self) -> float:
        return self.after - self.before


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--every", type=int, default=8)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--megapixels", type=int, nargs="*", default=[9, 88])
    options = parser.parse_args()
    costs = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name).resolve()
        images = list_images(options.data, options.every)
        for size in options.megapixels:
            side = round(math.sqrt(size * 1e6))
            for kind, repeated in (("dense", DENSE), ("sparse", SPARSE)):
                path = scratch / f"{kind}_{size}.tiff"
                make_image(path, SIZES.get(size, (side, side)), *repeated)
                images[path] = False
        print(
            head(["image", "H x W", "shown as usual", "before, s", "after, s", "more, s", "ratio"])
        )
        for image, of_val in images.items():
            cost = measure(image, of_val, scratch, options.runs)
            costs.append(cost)
            print(
                f"| {cost.name} | {cost.shape[0]} x {cost.shape[1]} | {'yes' if cost.usual else ''}"
                f" | {cost.before:.2f} | {cost.after:.2f} | {cost.added:+.2f} "
                f"| {cost.after / cost.before:.2f} |",
                flush=True,
            )
    report(costs)


def list_images(data: Path | None, every: int) -> dict[Path, bool]:
    """The images to measure, and whether each belongs to a sample of split ``val``."""
    images = dict.fromkeys(find_images(ROOT / "samples" / "images"), False)
    if data is not None:
        folder = data / "Train_Labeled" / "images"
        rows = read_split(data, "val", "probe")
        val = [folder / row["image"] for row in rows if row["split"] == "val"]
        val.sort(key=lambda path: path.stat().st_size)
        images |= dict.fromkeys(val[every // 2 :: every], True)
        for part in SLOW:
            found = next((folder / row["image"] for row in rows if part in row["image"]), None)
            if found is not None:
                images.setdefault(found, False)
    return images


def measure(image: Path, of_val: bool, scratch: Path, runs: int) -> Cost:
    """Medians of one image's seconds, one process after the other in turn."""
    usual = usual_weights(scratch / "usual")
    seconds: dict[Path, list[float]] = {usual: [], WEIGHTS: []}
    record: Record = {}
    if image.parent == scratch and int(image.stem.split("_")[1]) >= _ONCE_FROM:
        runs = 1
    for _ in range(runs):
        for weights, some in seconds.items():
            output = scratch / "outputs"
            command = [sys.executable, "-m", "app", str(image), str(output)]
            started = time.monotonic()
            done = subprocess.run(
                [*command, "--weights", str(weights)], cwd=ROOT, capture_output=True, text=True
            )
            some.append(time.monotonic() - started)
            if done.returncode:
                raise SystemExit(f"error: {done.stderr}")
            (record,) = json.loads((output / RUN_FILE).read_text())["images"]
    before, after = (statistics.median(some) for some in seconds.values())
    shape = record["height"], record["width"]
    return Cost(image.name, shape, record["look"]["usual"], before, after, of_val)


def usual_weights(folder: Path) -> Path:
    """The weights, with settings that show every image in the usual way."""
    if not folder.exists():
        folder.mkdir()
        settings = json.loads((WEIGHTS / FILE_NAME).read_text())
        for model in ("detector", "segmenter"):
            for name in {graph["file"] for graph in settings[model].values()}:
                (folder / name).symlink_to((WEIGHTS / name).resolve())
        settings["method"]["look_pixels"] = 0
        (folder / FILE_NAME).write_text(json.dumps(settings))
    return folder


def report(costs: list[Cost]) -> None:
    """What limits were set for."""
    if val := [cost for cost in costs if cost.of_val]:
        ratio = statistics.median(c.after for c in val) / statistics.median(c.before for c in val)
        print(f"\nMedian image of {len(val)} of val: {ratio:.2f} times its seconds.")
    for what, usual in (("as usual", True), ("otherwise", False)):
        small = [c for c in costs if math.prod(c.shape) <= _SMALL and c.usual == usual]
        if small:
            worst = max(small, key=lambda cost: cost.added)
            print(
                f"Up to 1 megapixel, shown {what}: at most {worst.added:+.2f} s ({worst.name}), "
                f"at most {max(c.after for c in small):.2f} s in all."
            )


if __name__ == "__main__":
    main()
