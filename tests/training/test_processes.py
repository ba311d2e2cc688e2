"""Training in two processes: the same batches give the same steps as in one."""

import dataclasses
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from app.settings import SettingsError
from tests.training import train_double
from training import processes, train
from training.config import KINDS, load_config
from training.data import load_labelled
from training.samples import DetectorSamples
from training.tasks import SegmenterTask

CONFIGS = Path("training/configs").resolve()
# Plain gradient steps: AdamW would blow rounding up where a gradient is nearly nothing.
SHARED = """
workers = 0
batch = 4
precision = "float32"
optimiser = "sgd"
learning_rate = 0.01
warmup_steps = 1
checkpoint_steps = 3
validation_steps = 3
"""
TINY = f"""
extends = "{CONFIGS / "ablations.toml"}"
[method]
window = 192
stride = 128
[detector]
size = "nano"
crop = 96
{SHARED}
[segmenter]
{SHARED}
[baseline]
crop = 96
{SHARED}
"""
# The largest difference of values around 1, after so many steps in double precision; in single,
# samples that change places in a batch make as much of a difference as an error would. 6e-14 and
# 2e-8 were measured (of the detector, whose batch norms over a few pixels blow rounding up), and
# at least 1e-4, of weights or losses, with any part of processes.py left out.
TOLERANCE = {1: 1e-10, 3: 1e-6}


def stage(name: str, model: str, steps: int) -> str:
    return f'[stage.{name}]\nmodel = "{model}"\nsteps = {steps}\n'


def environments(count: int) -> list[dict[str, str]]:
    """What torchrun tells each of its processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count)}
    return [{**address, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(count)]


def train_in_two(*arguments: Path) -> None:
    command = [
        sys.executable,
        "-W",
        "error",
        "-m",
        "tests.training.train_double",
        *map(str, arguments),
    ]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **variables, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            text=True,
        )
        for variables in environments(2)
    ]
    try:
        errors = [process.communicate(timeout=300)[1] for process in started]
    finally:
        for process in started:
            process.kill()
    assert not any(process.returncode for process in started), "\n".join(errors)


def assert_equal(one: Path, two: Path, tolerance: float) -> None:
    """Two runs ended with the same weights, averaged weights and statistics of batch norms."""
    states = [torch.load(run / "checkpoint.pt", weights_only=True) for run in (one, two)]
    assert states[0]["step"] == states[1]["step"] == states[0]["steps"]
    differences = {}
    for part in ("weights", "averaged"):
        assert states[0][part].keys() == states[1][part].keys()
        for name, value in states[0][part].items():
            difference = (value - states[1][part][name]).abs() / value.abs().clamp(min=1)
            differences[f"{part}.{name}"] = float(difference.max())
    worst = max(differences, key=differences.__getitem__)
    print(f"{worst} differs by {differences[worst]:.2g}")
    assert differences[worst] < tolerance, worst


@pytest.fixture(scope="module")
def trained(tiny_data, tmp_path_factory):
    """A folder with the stages MODEL-STEPS, trained by ``one`` process and by ``two``."""
    folder = tmp_path_factory.mktemp("trained")
    stages = [stage(f"{model}-{n}", model, n) for model in KINDS for n in TOLERANCE]
    (folder / "tiny.toml").write_text(TINY + "".join(stages))
    train_in_two(folder / "tiny.toml", tiny_data, folder / "two")
    train_double.main(folder / "tiny.toml", tiny_data, folder / "one")
    return folder


@pytest.mark.parametrize("steps", TOLERANCE)
@pytest.mark.parametrize("model", KINDS)
def test_two_processes_do_the_step_of_one(model, steps, trained):
    one, two = (trained / name / f"{model}-{steps}" for name in ("one", "two"))
    assert_equal(one, two, TOLERANCE[steps])
    losses = [torch.load(run / "checkpoint.pt")["rows"][0]["loss"] for run in (one, two)]
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE[steps])


def test_the_halves_of_a_batch_hold_different_numbers_of_cells(trained, tiny_data):
    config = load_config(trained / "tiny.toml")
    images = load_labelled(tiny_data, "train", config.method)
    samples = DetectorSamples(images, [], config.stages["detector-1"], config.method)
    halves = [sum(len(samples[n][1]) for n in half) for half in (range(2), range(2, 4))]
    assert halves[0] != halves[1]


def test_one_process_goes_on_where_two_stopped(trained, tiny_data, tmp_path):
    shutil.copytree(trained / "two" / "segmenter-1", tmp_path / "resumed")
    config = tmp_path / "tiny.toml"
    config.write_text(TINY + stage("resumed", "segmenter", 3))
    train_double.main(config, tiny_data, tmp_path)
    assert_equal(trained / "one" / "segmenter-3", tmp_path / "resumed", TOLERANCE[3])


def test_torchrun_may_start_a_single_process(tiny_data, tmp_path, monkeypatch):
    for key, value in environments(1)[0].items():
        monkeypatch.setenv(key, value)
    seen = []
    monkeypatch.setattr(train.Trainer, "run", lambda _: seen.append(dist.get_world_size()))
    config = tmp_path / "tiny.toml"
    config.write_text(TINY + stage("cells", "segmenter", 3))
    train.main([str(config), "cells", str(tiny_data), str(tmp_path)])
    assert seen == [1] and not dist.is_initialized()


@pytest.fixture
def second_of_two(monkeypatch):
    """This process believes that it is the second of two."""
    monkeypatch.setattr(processes, "count", lambda: 2)
    monkeypatch.setattr(processes, "number", lambda: 1)
    monkeypatch.setattr(processes, "distributed", lambda model: model)


def test_a_batch_that_cannot_be_shared_is_refused(
    second_of_two, tiny_config, tiny_images, tmp_path
):
    segmenter = dataclasses.replace(tiny_config.segmenter, batch=3)
    task = SegmenterTask(segmenter, tiny_config.method, *tiny_images)
    with pytest.raises(SettingsError, match="'batch' is 3, but 2 processes were started"):
        train.Trainer(task, tiny_config.method, tmp_path)


def test_a_process_names_its_own_images(second_of_two, tiny_config, tiny_images, tmp_path):
    class Diverges(SegmenterTask):
        def loss(self, model, batch, step):
            return {"loss": super().loss(model, batch, step)["loss"] * float("nan")}

    segmenter = dataclasses.replace(tiny_config.segmenter, batch=4)
    task = Diverges(segmenter, tiny_config.method, *tiny_images)
    own = str([task.samples.names(place) for place in (2, 3)])
    assert own != str([task.samples.names(place) for place in (0, 1)])
    with pytest.raises(FloatingPointError) as raised:
        train.Trainer(task, tiny_config.method, tmp_path).run()
    assert f"on {own};" in str(raised.value)
