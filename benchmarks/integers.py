"""What graphs of 8-bit integers lose and gain against those of floats: F1 and seconds on ``val``.

    python -m benchmarks.integers DATA [--weights weights]

Needs weights with graphs for ``vnni`` (training/quantise.py), and a CPU with these instructions.
Seconds are the sum over all images, without reading them. They depend on the machine and on what
else it does, so compare them within one run only.
"""

import argparse
import dataclasses
import tempfile
from pathlib import Path
from statistics import fmean

from tqdm import tqdm

from app.predict import Predictor
from app.processor import available_threads, has_vnni
from app.settings import load_settings
from benchmarks.look import STAGES, Result, outline, seconds
from training.export import write_settings
from training.judge import group_means
from training.layout import read_split
from training.report.markdown import head, line


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    options = parser.parse_args()
    settings = load_settings(options.weights)
    if "vnni" not in settings.detector or not has_vnni():
        parser.error("the weights have no graphs for vnni, or this CPU no such instructions")
    rows = read_split(options.data, "val")
    modalities = sorted({row["modality"] for row in rows})
    integers = Predictor(options.weights, "cpu", available_threads())
    with tempfile.TemporaryDirectory() as name:
        floats = without_integers(options.weights, Path(name))
    titles = ["graphs of", "F1", *modalities, *(f"{stage}, s" for stage in STAGES), "sum, s"]
    print(head(titles))
    for what, predictor in (("floats", floats), ("integers", integers)):
        results = [
            outline(options.data, row, predictor, predictor.method)
            for row in tqdm(rows, desc=what, leave=False)
        ]
        print(line([what, *f1_by_modality(results, modalities), *seconds(results)]), flush=True)


def f1_by_modality(results: list[Result], modalities: list[str]) -> list[str]:
    """Mean F1 over all images, and over those of each modality."""
    rows = [result.scored for result in results]
    means = group_means((row.modality, row.f1) for row in rows)
    overall = fmean(row.f1 for row in rows)
    return [f"{f1:.3f}" for f1 in (overall, *(means[m] for m in modalities))]


def without_integers(weights: Path, folder: Path) -> Predictor:
    """A predictor by graphs of floats, whatever the CPU can do."""
    settings = load_settings(weights)
    graphs = {"detector": settings.detector["cpu"], "segmenter": settings.segmenter["cpu"]}
    for graph in graphs.values():
        (folder / graph.file).symlink_to((weights / graph.file).resolve())
    write_settings(
        dataclasses.replace(
            settings, detector={"cpu": graphs["detector"]}, segmenter={"cpu": graphs["segmenter"]}
        ),
        folder,
    )
    return Predictor(folder, "cpu", available_threads())


if __name__ == "__main__":
    main()
