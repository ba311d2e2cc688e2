"""Train and compare the systems of a configuration: the paper's tables 5 and 6.

    python -m training.ablations training/configs/ablations.toml DATA RUN
    python -m training.ablations training/configs/ablations.toml DATA RUN --only without-tta

Trains whatever stage is missing, in RUN as training/train.py does, labels the unlabelled images
where a stage needs that, outlines split ``val`` with each system, every image shown in the usual
way, and prints a table of all that are done. It can be stopped at any time and goes on where it
was; RUN/systems/NAME holds the label images and the result of a system, and is to be deleted to
have it done again.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tqdm import tqdm

from app.detect import detect
from app.files.arrays import Pixels
from app.files.atomic import atomic_write
from app.files.labels import Labels, output_path, write_label
from app.files.open import open_image
from app.predict import Predictor, outline
from app.processor import available_threads
from training import train
from training.checkpoints import CHECKPOINT, read_checkpoint
from training.command import command_parser, user_errors
from training.config import Config, SegmenterConfig, StageConfig, System, load_config
from training.errors import InputError
from training.evaluate import score_folder, select_images, summarise
from training.export import export_runs, load_model
from training.layout import LABELS, METADATA, UNLABELLED, image_path, read_split
from training.look import show_usual
from training.models import baseline
from training.prepare import pseudo_label
from training.report.markdown import head, line
from training.views import detect_views


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("config", "data", "run"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--only", help="the name of one system")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        study = Study(options.config, options.data, options.run)
        systems = study.config.systems
        if options.only not in (None, *systems):
            raise InputError(
                f"{options.config}: no system {options.only}; it has {', '.join(systems)}"
            )
        for name in [options.only] if options.only else systems:
            study.finish(name)
    print(study.table())
    return 0


class Study:
    """A configuration's systems, trained and compared in one folder."""

    def __init__(self, path: Path, data: Path, run: Path) -> None:
        self.path, self.data, self.run = path, data, run
        self.config: Config = load_config(path)

    def finish(self, name: str) -> None:
        """Train what a system needs, and score it, unless that was done."""
        system, folder = self.config.systems[name], self.run / "systems" / name
        if (folder / "result.json").exists():
            return
        stages = list(dict.fromkeys(self.needed(system)))
        for stage in stages:
            self.train(stage)
        seconds = self.predict(system, folder)
        with atomic_write(folder / "result.json") as part:
            part.write_text(
                json.dumps(
                    {
                        **self.score(folder),
                        "hours": sum(self.hours(stage) for stage in stages),
                        "seconds": seconds,
                    }
                )
            )

    def needed(self, system: System) -> Iterator[str]:
        """The stages that a system is made of, each after those that it needs itself."""
        for name in filter(None, (system.detector, system.segmenter)):
            yield from self.before(self.config.stages[name])
            yield name

    def before(self, stage: StageConfig) -> Iterator[str]:
        """The stages that one needs."""
        if stage.start:
            yield from self.before(self.config.stages[stage.start])
            yield stage.start
        if isinstance(stage, SegmenterConfig) and stage.boxes:
            yield from self.before(self.config.stages[stage.boxes])
            yield stage.boxes
        if stage.unlabelled:
            yield from self.needed(self.config.systems[self.config.teacher])

    def train(self, name: str) -> None:
        """Train a stage to its end, with labels for the unlabelled images where it wants them."""
        if self.config.stages[name].unlabelled:
            self.label_unlabelled()
        checkpoint = self.run / name / CHECKPOINT
        if checkpoint.exists():
            state = read_checkpoint(checkpoint, keys=("step", "steps", "seconds"))
            if state["step"] == state["steps"]:
                return
        print(f"stage {name}", file=sys.stderr)
        train.main([str(self.path), name, str(self.data), str(self.run)])

    def label_unlabelled(self) -> None:
        """Pseudo-labels by the teacher, unless they are there."""
        folder = self.run / train.PSEUDO
        if not (folder / METADATA).exists():
            weights = folder / "weights"
            self.export(self.config.systems[self.config.teacher], weights)
            images = self.data / UNLABELLED
            pseudo_label.main([str(weights), str(images), str(folder)])

    def export(self, system: System, weights: Path) -> None:
        """Write a system's graphs and settings."""
        export_runs(self.run / system.detector, self.run / system.segmenter, self.config, weights)

    def predict(self, system: System, folder: Path) -> float:
        """Write the label images of split ``val``; returns the seconds that took."""
        outlines = self.outliner(system, folder)
        labels = folder / "labels"
        labels.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        for row in tqdm(read_split(self.data, "val"), desc=folder.name, unit="image"):
            source = image_path(self.data, row)
            with open_image(source) as image:
                found = outlines(show_usual(image, self.config.method))
                write_label(output_path(source, labels), found)
        return time.monotonic() - started

    def outliner(self, system: System, folder: Path) -> Callable[[Pixels], Labels]:
        """A system as a function from a normalised image to its label image."""
        method = self.config.method
        if not system.detector:
            model, _ = load_model(self.run / system.segmenter / "best.pt")
            return lambda image: baseline.outline(image, model.eval(), method)
        self.export(system, folder / "weights")
        predictor = Predictor(folder / "weights", "auto", available_threads())

        def outlines(image: Pixels) -> Labels:
            if system.views == 1:
                boxes, _ = detect(image, predictor.detector, method)
            else:
                boxes, _ = detect_views(
                    image[:, :], predictor.detector, method, method.score_threshold
                )
            return outline(image, boxes, predictor.segmenter, method).labels

        return outlines

    def score(self, folder: Path) -> dict[str, float]:
        """Mean F1 at IoU 0.5 over all images, and over those of each modality."""
        truth = self.data / LABELS
        images = select_images(truth, self.data / METADATA, "val")
        rows, _ = score_folder(images, truth, folder / "labels", [0.5])
        *groups, overall = summarise(rows)
        means = {row.group: row.mean_f1 for row in groups if row.by == "modality"}
        return {"all": overall.mean_f1, **means}

    def hours(self, stage: str) -> float:
        """Hours that a stage was trained."""
        return float(read_checkpoint(self.run / stage / CHECKPOINT)["seconds"]) / 3600

    def table(self) -> str:
        """The systems that are done, as Markdown; F1 on split ``val``."""
        lines: list[str] = []
        for name, system in self.config.systems.items():
            path = self.run / "systems" / name / "result.json"
            if path.exists():
                result = json.loads(path.read_text())
                titles = ["system", *dataclasses.asdict(system), *result]
                cells = [str(value) or "none" for value in dataclasses.asdict(system).values()]
                figures = [f"{value:.3f}" for value in result.values()]
                figures[-1] = f"{result['seconds']:.0f}"
                lines.append(line([name, *cells, *figures]))
        return "\n".join([head(titles), *lines] if lines else [])


if __name__ == "__main__":
    sys.exit(main())
