"""What the shipped weights reach on the samples, which are of the validation split.

    python -m tests.app.sample_scores

prints F1 of each by each set of graphs, all of them run by this CPU.
"""

import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import tifffile

from app import session
from app.processor import Processor
from app.running.journal import RUN_FILE
from app.running.options import parse
from app.running.run import run
from training.metric import score_image

SAMPLES = Path("samples")
# At an IoU of 0.5, midway between what the sets of graphs reach: python -m tests.app.sample_scores.
# Only the nuclei of the first, a cytology, are labelled.
SAMPLE_F1 = {
    "dsb2018-4e07a653352b": 0.487,
    "dsb2018-5afb7932e9c7": 0.959,
    "dsb2018-a5e695fce80d": 0.954,
    "dsb2018-a5fe0b7412dd": 1.0,
    "dsb2018-ac8169a0debe": 0.963,
    "dsb2018-f6863b83d75e": 0.813,
}
TOLERANCE = 0.02  # to either side, by any set of graphs
# The graphs of each processor: how the names of the detector's and the segmenter's end.
GRAPHS: dict[Processor, tuple[str, str]] = {
    "cpu": ("_fp16", ""),
    "vnni": ("_int8", "_int8"),
    "cuda": ("_fp16", "_fp16"),
}


def score_samples(processor: Processor, names: list[str]) -> dict[str, float]:
    """F1 of samples by the graphs for a processor, end to end, from files to files."""
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("app.graphs.candidates", lambda device, precision: [processor]),
        patch.dict(session._PROVIDERS, cuda=session._PROVIDERS["cpu"]),
    ):
        source, target = Path(folder) / "in", Path(folder) / "out"
        source.mkdir()
        for name in names:
            (source / f"{name}.png").symlink_to((SAMPLES / "images" / f"{name}.png").resolve())
        assert run(parse([str(source), str(target)])) == 0
        used = json.loads((target / RUN_FILE).read_text())["graphs"]
        assert [Path(graph["file"]).stem for graph in used] == [
            f"{role}{end}"
            for role, end in zip(("detector", "segmenter"), GRAPHS[processor], strict=True)
        ]
        found = {}
        for name in names:
            label = f"{name}_label.tiff"
            truth, predicted = (tifffile.imread(p / label) for p in (SAMPLES / "labels", target))
            found[name] = score_image(truth, predicted)[0].f1
    return found


if __name__ == "__main__":
    print(f"| sample | {' | '.join(GRAPHS)} |\n| --- | {' | '.join(['---'] * len(GRAPHS))} |")
    scores = [score_samples(processor, list(SAMPLE_F1)) for processor in GRAPHS]
    for name in SAMPLE_F1:
        print(f"| {name} | {' | '.join(f'{score[name]:.4f}' for score in scores)} |")
