"""Train the detector or the segmenter; stop it at any time and start it again.

    python -m training.train training/configs/shipped.toml STAGE DATA RUN

STAGE is one of the configuration's; DATA a folder in the challenge's layout (training/data.py).
RUN/STAGE receives checkpoint.pt (the state to go on from), best.pt (the averaged weights that
scored best on split ``val``), log.csv and curve.png. A sample depends on the seed and its number
alone, so a resumed run goes on with just what an unbroken one would have seen. A stage that starts
from another one, or cuts its crops by another one's ``boxes``, takes RUN/OTHER/best.pt; one with
``unlabelled`` samples takes the pseudo-labels in RUN/pseudo (training/pseudo_label.py). With
``--start FILE`` another best.pt is started from.
"""

import argparse
import csv
import dataclasses
import math
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader
from tqdm import tqdm

from app.settings import Method
from app.whole import written_whole
from training.baseline import BaselineTask
from training.config import (
    BaselineConfig,
    DetectorConfig,
    Stage,
    StageConfig,
    load_config,
    model_of,
)
from training.data import Count, load_labelled, with_predicted_boxes
from training.detector import Detector
from training.export import ExportedDetector, load_model, runner
from training.tasks import DetectorTask, SegmenterTask, Task

PSEUDO = "pseudo"  # folder of the pseudo-labels in that of a run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Verbatim)
    parser.add_argument("config", type=Path)
    parser.add_argument("stage")
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--start", type=Path, help="best.pt of the run to start from")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    if options.stage not in config.stages:
        parser.error(f"{options.config} has the stages {', '.join(config.stages)}")
    stage = config.stages[options.stage]
    torch.manual_seed(stage.seed)
    task = make_task(stage, config.method, options.data, options.run)
    start = options.start or (options.run / stage.start / "best.pt" if stage.start else None)
    if start:
        task.model.load_state_dict(torch.load(start, "cpu", weights_only=True)["weights"])
    Trainer(task, config.method, options.run / options.stage).run()


def make_task(stage: Stage, method: Method, data: Path, run: Path) -> Task:
    """The task of a stage, with its images in memory."""
    train, val = (load_labelled(data, split, method) for split in ("train", "val"))
    unlabelled = load_labelled(run / PSEUDO, "train", method) if stage.unlabelled else []
    if isinstance(stage, DetectorConfig):
        return DetectorTask(stage, method, train, val, unlabelled)
    if isinstance(stage, BaselineConfig):
        return BaselineTask(stage, method, train, val)
    if stage.boxes:
        model, _ = load_model(run / stage.boxes / "best.pt")
        assert isinstance(model, Detector)  # the configuration says so
        detector = runner(ExportedDetector(model))
        train = [with_predicted_boxes(image, detector, method) for image in train]
    return SegmenterTask(stage, method, train, val, unlabelled)


class Trainer:
    """One training run in one folder.

    Args:
        task: the model with its samples and scores.
        method: kept in the checkpoints with the stage, so that one alone can be rebuilt.
        folder: a checkpoint in it is gone on from.
    """

    def __init__(self, task: Task, method: Method, folder: Path) -> None:
        self.task, self.method, self.folder = task, method, folder
        self.config: StageConfig = task.config
        self.steps = task.samples.steps
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = task.model.to(self.device).to(memory_format=torch.channels_last)
        self.averaged = AveragedModel(
            self.model, avg_fn=_average(self.config.ema_decay), use_buffers=True
        )
        self.optimiser = build_optimiser(self.model, self.config)
        self.step = 0
        self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self._resume()

    def run(self) -> None:
        """Train to the last step."""
        config = self.config
        sums: dict[str, float] = {}
        started = time.monotonic() - self.seconds
        bar = tqdm(self._batches(), total=self.steps, initial=self.step, unit="step")
        for batch in bar:
            for name, value in self._train_step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            last = self.step == self.steps
            validate = last or self.step % config.validation_steps == 0
            if not validate and self.step % config.checkpoint_steps:
                continue
            since = self.step - (self.rows[-1]["step"] if self.rows else 0)
            row = {"step": self.step, **{name: value / since for name, value in sums.items()}}
            sums = {}
            if validate:
                row |= self._validate()
            self.seconds = time.monotonic() - started
            self.rows.append({**row, "hours": self.seconds / 3600})
            bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k in ("loss", "score")})
            self._save()

    def _batches(self) -> Iterator[Any]:
        config = self.config
        loader: DataLoader[Any] = DataLoader(
            self.task.samples,
            config.batch,
            sampler=Count(self.step * config.batch, self.steps * config.batch),
            num_workers=config.workers,
            collate_fn=self.task.collate,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if config.workers else None,
        )
        return iter(loader)

    def _train_step(self, batch: Any) -> dict[str, float]:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self.config)
        self.model.train()
        with torch.autocast(self.device.type, torch.bfloat16):
            terms: dict[str, Tensor] = self.task.loss(self.model, batch, self.step)
        values = {name: float(value.detach()) for name, value in terms.items()}
        if not math.isfinite(values["loss"]):
            first = self.step * self.config.batch
            batch_names = [self.task.samples.names(first + n) for n in range(self.config.batch)]
            raise FloatingPointError(
                f"step {self.step}: the loss is {values} on {batch_names}; look at these images, "
                "or lower the learning rate"
            )
        self.optimiser.zero_grad()
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.averaged.update_parameters(self.model)
        return values

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        self.averaged.eval()
        with torch.autocast(self.device.type, torch.bfloat16):
            scores = self.task.validate(self.averaged.module)
        if scores["score"] >= max((row.get("score", 0.0) for row in self.rows), default=0.0):
            self._write("best.pt", {"weights": self.averaged.module.state_dict(), **scores})
        return scores

    def _save(self) -> None:
        state = {
            "weights": self.model.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "seconds": self.seconds,
            "rows": self.rows,
        }
        self._write("checkpoint.pt", state)
        columns = list(dict.fromkeys(key for row in self.rows for key in row))
        with (self.folder / "log.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows)
        plot(self.rows, self.folder / "curve.png")

    def _write(self, name: str, state: dict[str, Any]) -> None:
        """Write a checkpoint; a run killed meanwhile keeps the one it had."""
        about = {
            "step": self.step,
            "model": model_of(self.task.config),
            "stage": dataclasses.asdict(self.task.config),
            "steps": self.steps,
            "method": dataclasses.asdict(self.method),
            "commit": _commit(),
        }
        with written_whole(self.folder / name) as part:
            torch.save({**state, **about}, part)

    def _resume(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", self.device, weights_only=True)
        self.model.load_state_dict(state["weights"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]


def learning_rate(step: int, steps: int, config: StageConfig) -> float:
    """Quadratic warm-up, then a cosine down to a share of the highest rate (YOLOX, section 2)."""
    if step < config.warmup_steps:
        return config.learning_rate * ((step + 1) / config.warmup_steps) ** 2
    done = (step - config.warmup_steps) / max(steps - config.warmup_steps, 1)
    low = config.final_learning_rate
    return config.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)


def build_optimiser(model: nn.Module, config: StageConfig) -> torch.optim.Optimizer:
    """The configured optimiser; only kernels decay, not biases and batch norms."""
    groups = [
        {
            "params": [p for p in model.parameters() if p.ndim > 1],
            "weight_decay": config.weight_decay,
        },
        {"params": [p for p in model.parameters() if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if config.optimiser == "sgd":
        return torch.optim.SGD(groups, config.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, config.learning_rate)


def plot(rows: list[dict[str, float]], path: Path) -> None:
    """Loss and validation scores over steps, as a PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.5), layout="constrained")
    loss_axes, score_axes = figure.subplots(1, 2)
    loss_axes.plot([r["step"] for r in rows], [r["loss"] for r in rows])
    loss_axes.set(xlabel="step", ylabel="training loss")
    scored = [r for r in rows if "score" in r]
    for name in scored[0] if scored else ():
        if name in ("score", "mAP", "mAP50") or name[0].isupper():
            score_axes.plot([r["step"] for r in scored], [r[name] for r in scored], label=name)
    score_axes.set(xlabel="step", ylabel="validation score")
    if scored:
        score_axes.legend(fontsize="small")
    figure.savefig(path, dpi=100)


def _average(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """The update of one averaged tensor, for ``AveragedModel``."""

    def average(averaged: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        if not averaged.is_floating_point():
            return current
        # Early weights are forgotten sooner, so that the average is useful from the start.
        kept = min(decay, (1 + float(count)) / (10 + float(count)))
        return averaged.lerp(current, 1 - kept)

    return average


def _one_thread(_worker: int) -> None:
    """More threads inside a worker would only contend with the training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _commit() -> str:
    done = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout.strip()


class _Verbatim(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the module's docstring."""


if __name__ == "__main__":
    main()
