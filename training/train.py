"""Train the detector or the segmenter; stop it at any time and start it again.

    python -m training.train training/configs/shipped.toml STAGE DATA RUN
    torchrun --nproc-per-node 4 -m training.train training/configs/paper.toml STAGE DATA RUN

STAGE is one of the configuration's; DATA a folder in the challenge's layout (training/data.py).
RUN/STAGE receives checkpoint.pt (the state to go on from), best.pt (the averaged weights that
scored best on split ``val``), log.csv and curve.png. A sample depends on the seed and its number
alone, so a resumed run goes on with just what an unbroken one would have seen. A stage that starts
from another one, or cuts its crops by another one's ``boxes``, takes RUN/OTHER/best.pt; one with
``unlabelled`` samples takes the pseudo-labels in RUN/pseudo (training/prepare/pseudo_label.py).
With ``--start FILE`` another best.pt, or the graph of shipped weights, is started from.
"""

import argparse
import contextlib
import csv
import ctypes
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

from app.files.atomic import atomic_write
from app.settings import Method, SettingsError
from training import processes
from training.cells import with_predicted_boxes
from training.config import (
    BaselineConfig,
    DetectorConfig,
    Stage,
    StageConfig,
    load_config,
    model_of,
)
from training.data import load_labelled
from training.epochs import Batches
from training.export import ExportedDetector, load_model, runner
from training.initial_weights import load_start
from training.models.baseline import BaselineTask
from training.models.detector import Detector
from training.prepare.unlabelled_cells import with_ignored
from training.tasks import DetectorTask, SegmenterTask, Task, floats

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's <malloc.h>
PSEUDO = "pseudo"  # folder of the pseudo-labels in that of a run


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=_Verbatim)
    parser.add_argument("config", type=Path)
    parser.add_argument("stage")
    parser.add_argument("data", type=Path)
    parser.add_argument("run", type=Path)
    parser.add_argument("--start", type=Path, help="best.pt or .onnx to start from")
    options = parser.parse_args(arguments)
    config = load_config(options.config)
    if options.stage not in config.stages:
        parser.error(f"{options.config} has the stages {', '.join(config.stages)}")
    stage = config.stages[options.stage]
    with processes.joined():
        torch.manual_seed(stage.seed)
        task = make_task(stage, config.method, options.data, options.run)
        start = options.start or (options.run / stage.start / "best.pt" if stage.start else None)
        if start:

            def draw() -> Tensor:
                images = task.collate([task.samples[n] for n in range(stage.batch)])[0]
                return floats(images, task.model)

            load_start(task.model, start, draw)
        Trainer(task, config.method, options.run / options.stage).run()


def make_task(stage: Stage, method: Method, data: Path, run: Path) -> Task:
    """The task of a stage, with its images in memory."""
    train, val = (load_labelled(data, split, method) for split in ("train", "val"))
    unlabelled = load_labelled(run / PSEUDO, "train", method) if stage.unlabelled else []
    if isinstance(stage, DetectorConfig):
        if stage.ignored:
            train = with_ignored(train, run / stage.ignored)
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
        self.share = _share(self.config.batch)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = task.model.to(self.device).to(memory_format=torch.channels_last)
        self.averaged = AveragedModel(
            self.model, avg_fn=_average(self.config.ema_decay), use_buffers=True
        )
        self.optimiser = build_optimiser(self.model, self.config)
        self.step = 0
        self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        keep_freed_memory()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "checkpoint.pt").exists():
            self._resume()
        self.called = processes.distributed(self.model)

    def run(self) -> None:
        """Train to the last step."""
        config = self.config
        first = processes.number() == 0
        validation_steps = config.validation_steps or self.task.samples.epoch_steps
        sums: dict[str, float] = {}
        begun = since = time.monotonic()
        waited, seconds_before = 0.0, self.seconds
        batches = self._batches()
        bar = tqdm(total=self.steps, initial=self.step, unit="step", disable=not first)
        while self.step < self.steps:
            asked = time.monotonic()
            batch = next(batches)
            waited += time.monotonic() - asked
            for name, value in self._train_step(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            self.step += 1
            bar.update()
            validate = self.step == self.steps or self.step % validation_steps == 0
            if not validate and self.step % config.checkpoint_steps:
                continue
            steps = self.step - (self.rows[-1]["step"] if self.rows else 0)
            row = {"step": self.step, **{name: value / steps for name, value in sums.items()}}
            passed = time.monotonic() - since
            row |= {"seconds": passed / steps, "waiting": waited / passed}
            if validate and first:
                row |= self._validate()
            self.seconds = seconds_before + time.monotonic() - begun
            self.rows.append({**row, "hours": self.seconds / 3600})
            bar.set_postfix({k: f"{v:.3f}" for k, v in row.items() if k in ("loss", "score")})
            if first:
                self._save()
            sums, waited, since = {}, 0.0, time.monotonic()

    def _batches(self) -> Iterator[Any]:
        config = self.config
        loader: DataLoader[Any] = DataLoader(
            self.task.samples,
            batch_sampler=Batches(self.step, self.steps, config.batch, self.share),
            num_workers=config.workers,
            collate_fn=self.task.collate,
            worker_init_fn=_one_thread,
            prefetch_factor=4 if config.workers else None,
        )
        return iter(loader)

    def _autocast(self) -> torch.autocast:
        reduced = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)

    def _train_step(self, batch: Any) -> dict[str, float]:
        """One step; returns its losses, averaged over the processes."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.steps, self.config)
        self.model.train()
        with self._autocast():
            terms = self.task.loss(self.called, batch, self.step)
        if not terms["loss"].isfinite():
            start = self.step * self.config.batch
            batch_names = [self.task.samples.names(start + place) for place in self.share]
            values = {name: float(value.detach()) for name, value in terms.items()}
            raise FloatingPointError(
                f"step {self.step}: the loss is {values} on {batch_names}; look at these images, "
                "or lower the learning rate"
            )
        self.optimiser.zero_grad()
        terms["loss"].backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.averaged.update_parameters(self.model)
        return processes.mean(terms)

    @torch.inference_mode()
    def _validate(self) -> dict[str, float]:
        self.averaged.eval()
        with self._autocast():
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
        plot(self.rows, self.task.samples.epoch_steps, self.folder / "curve.png")

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
        with atomic_write(self.folder / name) as part:
            torch.save({**state, **about}, part)

    def _resume(self) -> None:
        state = torch.load(self.folder / "checkpoint.pt", self.device, weights_only=True)
        self.model.load_state_dict(state["weights"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next step wants just as much again.

    By default large arrays go back to the system, and new pages for them, filled with zeros, take a
    quarter of a step on a CPU: python -m benchmarks.training_step. Only glibc knows of this.
    """
    with contextlib.suppress(OSError, AttributeError):
        adjust = ctypes.CDLL("libc.so.6").mallopt
        adjust(_M_MMAP_MAX, 0)
        adjust(_M_TRIM_THRESHOLD, -1)


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


def plot(rows: list[dict[str, float]], epoch_steps: int, path: Path) -> None:
    """Loss and validation scores over epochs, as a PNG; of a detector, mAP as in VSM's figure 7."""
    from matplotlib.figure import Figure

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


def _share(batch: int) -> range:
    """The places of a batch that this process takes.

    Raises:
        SettingsError: the processes can't share it evenly.
    """
    each, left = divmod(batch, processes.count())
    if left:
        raise SettingsError(
            f"'batch' is {batch}, but {processes.count()} processes were started; one that "
            "divides among them was wanted: change 'batch', or torchrun's --nproc-per-node"
        )
    return range(processes.number() * each, (processes.number() + 1) * each)


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
