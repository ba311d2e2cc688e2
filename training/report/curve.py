"""How a training run went: its log as a table and as a picture."""

import csv
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

LOG = "log.csv"  # in the folder of a stage


def write_log(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Write rows as CSV; what a row lacks stays empty."""
    columns = list(dict.fromkeys(key for row in rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def plot(rows: Sequence[dict[str, float]], epoch_steps: int, path: Path) -> None:
    """Loss and validation scores over epochs, as a PNG; of a detector, mAP as in VSM's figure 7."""
    scored = [row for row in rows if "score" in row]
    names = list(scored[0]) if scored else []
    precisions = [name for name in names if name.startswith("mAP")]
    by_modality = [name for name in names if name == "score" or name[0].isupper()]
    panels = {"training loss": ["loss"], "validation score": by_modality}
    if precisions:
        panels["mean average precision of boxes"] = precisions
    figure = Figure(figsize=(4.5 * len(panels), 3.5), layout="constrained")
    for axes, (title, lines) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for name in lines:
            known = [row for row in rows if name in row]
            epochs = [row["step"] / epoch_steps for row in known]
            axes.plot(epochs, [row[name] for row in known], marker=".", label=name)
        axes.set(xlabel="epoch", ylabel=title)
        if len(lines) > 1:
            axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)
