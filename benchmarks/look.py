"""How images are shown to the networks: the usual way and the look, by F1 and seconds.

    python -m benchmarks.look DATA [--weights weights]
    python -m benchmarks.look DATA --noise

Of splits ``val`` and ``probe`` of DATA, masks at IoU 0.5. First table: F1 by source in both ways,
and how many images were not shown in the usual way, by what differs; limits differ where a channel
is shown in both ways, between others. Second: the means that training/judge.py and the model card
speak of. Third: seconds of all images by stage, read already; "look" holds the detection where an
image was tried as a whole. With --noise: which channels are found to hold nothing
(benchmarks/noise.py).
"""

import argparse
import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

import numpy as np
from tqdm import tqdm

from app.files.open import read_image
from app.look import Look
from app.predict import Predictor, predict
from app.processor import available_threads
from app.settings import Method
from app.stopwatch import Stopwatch
from benchmarks import noise
from training.judge import MIN_IMAGES, SPLITS, Scored, by_source, judge
from training.layout import label_path, read_split
from training.metric import read_labels, score_image
from training.report.markdown import head, line

STAGES = ("survey", "look", "detect", "segment")
WAYS = ("usual", "look")
# Sources of probe without which the mean is told as well: one gains more by the look than all
# others, and the labels of the other lie beside its nuclei.
_APART = ("bf2_dic_bbbc009_rbc", "ihc_deepliif_sample")


@dataclass(frozen=True)
class Result:
    """An image, outlined.

    differs: whether its look has other channels than the usual one, other limits, another
        magnification.
    seconds: by stage.
    """

    scored: Scored
    differs: tuple[bool, bool, bool]
    seconds: dict[str, float]


Results = dict[str, list[Result]]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path, default=Path("weights"))
    parser.add_argument("--noise", action="store_true", help="which channels hold nothing")
    options = parser.parse_args(arguments)
    if options.noise:
        noise.report(options.data)
        return
    predictor = Predictor(options.weights, "auto", available_threads())
    chosen = predictor.method
    methods = {"usual": dataclasses.replace(chosen, look_pixels=0), "look": chosen}
    results: Results = {way: [] for way in WAYS}
    for row in tqdm(read_split(options.data, *SPLITS), unit="image", disable=None):
        for way, method in methods.items():
            results[way].append(outline(options.data, row, predictor, method))
    print_sources(results)
    print_means({way: [result.scored for result in some] for way, some in results.items()})
    print("\n" + head(["seconds", *STAGES, "sum"]))
    for way in WAYS:
        print(line([way, *seconds(results[way])]))


def outline(data: Path, row: dict[str, str], predictor: Predictor, method: Method) -> Result:
    """Outline an image of a row of metadata, as prediction does, and score it.

    Args:
        method: in place of the predictor's own.
    """
    folder = data / "Train_Labeled"
    image = np.atleast_3d(read_image(folder / "images" / row["image"]))
    watch = Stopwatch()
    found = predict(image, predictor.detector, predictor.segmenter, method, watch=watch)
    truth = read_labels(label_path(folder / "labels", row["name"]))
    f1 = score_image(truth, found.labels[:, :])[0].f1
    scored = Scored(row["split"], row["source"], row["modality"], f1)
    return Result(scored, differences(found.choice.usual, found.choice.look), watch.seconds)


def print_sources(results: Results) -> None:
    """F1 of each source, and how its images were shown."""
    titles = ["split", "source", "images", *WAYS, "not usual", "channels", "limits"]
    titles.append("magnification")
    print(head(titles))
    groups = sorted({result.scored[:2] for result in results["usual"]}, reverse=True)
    for group in groups:
        usual, look = ([r for r in results[way] if r.scored[:2] == group] for way in WAYS)
        f1 = [f"{fmean(result.scored.f1 for result in some):.3f}" for some in (usual, look)]
        differ = [result.differs for result in look]
        counts = [sum(map(any, differ)), *map(sum, zip(*differ, strict=True))]
        print(line([*group, len(look), *f1, *counts]))


def differences(usual: Look, look: Look) -> tuple[bool, bool, bool]:
    """Whether a look has other channels, other limits of a channel, another magnification."""
    before = dict(zip(usual.channels, usual.limits, strict=True))
    shown = zip(look.channels, look.limits, strict=True)
    return (
        look.channels != usual.channels,
        any(limits != before.get(c, limits) for c, limits in shown),
        look.magnification != usual.magnification,
    )


def print_means(rows: dict[str, list[Scored]]) -> None:
    """What the weights are judged by, in each way."""
    means = {way: summarise(some) for way, some in rows.items()}
    print("\n" + head(["mean F1", *WAYS]))
    for what in means["usual"]:
        print(line([what, *(f"{means[way][what]:.4f}" for way in WAYS)]))
    before, after = (large_sources(rows[way]) for way in WAYS)
    if before:
        worst = min(before, key=lambda source: after[source] - before[source])
        fall = after[worst] - before[worst]
        print(f"\nOf sources of {MIN_IMAGES} images and more the worst: {worst}, {fall:+.4f}.")


def large_sources(rows: Sequence[Scored]) -> dict[str, float]:
    """Mean F1 of each source that has images enough to tell something."""
    sources: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        sources[f"{row.source} ({row.split})"].append(row.f1)
    return {source: fmean(f1) for source, f1 in sources.items() if len(f1) >= MIN_IMAGES}


def summarise(rows: Sequence[Scored]) -> dict[str, float]:
    """Means by what they are of."""
    val, probe = ({g: fmean(f1) for g, f1 in by_source(rows, s).items()} for s in SPLITS)
    means = {}
    if probe:
        means["probe, over sources"] = fmean(probe.values())
    for apart in filter(probe.__contains__, _APART):
        others = [f1 for source, f1 in probe.items() if source != apart]
        if others:
            means[f"probe, over sources, without {apart}"] = fmean(others)
    judged = judge(rows)
    means[f"val, over sources, those of fewer than {MIN_IMAGES} by modality"] = fmean(val.values())
    means["val, over images"] = judged["images"]
    means["what settings are judged by"] = judged["judged"]
    return means


def seconds(results: Sequence[Result]) -> list[str]:
    """Of all images: by stage, and their sum."""
    sums = [sum(result.seconds[stage] for result in results) for stage in STAGES]
    return [f"{each:.1f}" for each in (*sums, sum(sums))]


if __name__ == "__main__":
    main()
