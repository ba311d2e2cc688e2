"""The training loop: steps, checkpoints, scores and the log; it can be stopped and resumed."""

import contextlib
import ctypes
import dataclasses
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import nn
from torch.utils.data import DataLoader
from tqdm import tqdm

from app.files.atomic import atomic_write
from app.settings import Method, SettingsError
from training import processes
from training.checkpoints import CHECKPOINT, load_weights, read_checkpoint
from training.config import StageConfig, model_of
from training.epochs import Batches
from training.errors import InputError
from training.optimiser import average_weights, build_optimiser, learning_rate
from training.report.curve import LOG, plot, write_log
from training.tasks import Task

# Of a checkpoint to resume from.
_KEYS = (
    *("model", "stage", "weights", "averaged", "optimiser"),
    *("random", "seconds", "rows", "step", "steps"),
)
# Of a stage, while it is trained.
_MAY_CHANGE = "steps", "epochs", "workers", "checkpoint_steps", "validation_steps"
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's <malloc.h>


class Trainer:
    """One training run in one folder.

    Args:
        task: the model with its samples and scores.
        method: kept in the checkpoints with the stage, so that one alone can be rebuilt.
        folder: receives checkpoint.pt, best.pt, log.csv and curve.png; a run whose checkpoint it
            has is resumed.

    Raises:
        SettingsError: the processes can't share a batch evenly.
        InputError: the checkpoint is of another model, or of a stage with other numbers.
    """

    def __init__(self, task: Task, method: Method, folder: Path) -> None:
        self.task, self.method, self.folder = task, method, folder
        self.config: StageConfig = task.config
        self.steps = task.samples.steps
        self.share = _share(self.config.batch)
        self.device = best_device()
        torch.backends.cudnn.benchmark = True  # batches are of one size, or of few
        self.model = task.model.to(self.device).to(memory_format=torch.channels_last)
        self.averaged = average_weights(self.model, self.config.ema_decay)
        self.optimiser = build_optimiser(self.model, self.config)
        self.step = 0
        self.seconds = 0.0
        self.rows: list[dict[str, float]] = []
        keep_freed_memory()
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / CHECKPOINT).exists():
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
            pin_memory=self.device.type == "cuda",
        )
        return iter(loader)

    def _autocast(self) -> torch.autocast:
        reduced = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=reduced)

    def _train_step(self, batch: Any) -> dict[str, float]:
        """One step; returns its losses and the gradient's norm, averaged over the processes."""
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
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip_norm)
        self.optimiser.step()
        self.averaged.update_parameters(self.model)
        return processes.mean({**terms, "gradient": norm})

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
        self._write(CHECKPOINT, state)
        write_log(self.rows, self.folder / LOG)
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
        path = self.folder / CHECKPOINT
        state = read_checkpoint(path, self.device, _KEYS)
        found = state["model"], state["stage"]["size"]
        if found != (wanted := (model_of(self.task.config), self.config.size)):
            raise InputError(
                f"{path}: is of a {' '.join(found)}, but the stage trains a {' '.join(wanted)}; "
                "give another folder for the run, or delete it"
            )
        for key, value in dataclasses.asdict(self.config).items():
            before = state["stage"].get(key, value)  # what an earlier version didn't know
            if key not in _MAY_CHANGE and before != value:
                raise InputError(
                    f"{path}: was begun with {key} {before!r}, and now it is {value!r}; set it "
                    "back, or give another folder for the run"
                )
        load_weights(self.model, path, state["weights"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        torch.set_rng_state(state["random"].cpu())
        self.step, self.seconds, self.rows = state["step"], state["seconds"], state["rows"]


def best_device() -> torch.device:
    """A GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def keep_freed_memory() -> None:
    """Let the C library keep what is freed, for the next step wants just as much again.

    By default large arrays go back to the system, and new pages for them, filled with zeros, take a
    quarter of a step on a CPU: python -m benchmarks.training_step. Only glibc knows of this.
    """
    with contextlib.suppress(OSError, AttributeError):
        adjust = ctypes.CDLL("libc.so.6").mallopt
        adjust(_M_MMAP_MAX, 0)
        adjust(_M_TRIM_THRESHOLD, -1)


def _share(batch: int) -> range:
    """The samples that this process takes of a batch, by their number in it.

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


def _one_thread(_worker: int) -> None:
    """More threads inside a worker would only contend with the training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _commit() -> str:
    """The version of the code; "" where there is no git, or no repository."""
    command = ["git", "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip()
