"""Training in two processes: the same batches give the same steps as in one."""

import csv
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from training import train
from training.config import load_config
from training.data import DetectorSamples, load_labelled

CONFIGS = Path("training/configs").resolve()
# Plain gradient steps: AdamW would blow rounding up where a gradient is nearly nothing. And double
# precision (tests/train_double.py): in single, batch norms blow it up to a hundredth of a step
# already where the samples of a batch change places.
SHARED = """
workers = 0
batch = 4
steps = 3
precision = "float32"
optimiser = "sgd"
learning_rate = 0.01
warmup_steps = 1
checkpoint_steps = 1
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
[stage.detector]
model = "detector"
[stage.segmenter]
model = "segmenter"
"""
TOLERANCE = 1e-6  # of values around 1, after three steps


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    return path


def run(module: str, processes: int, *arguments: object) -> list[subprocess.CompletedProcess[str]]:
    """A module in as many processes, several as torchrun would start them."""
    environment: list[dict[str, str]] = [{}]
    if processes > 1:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = str(free.getsockname()[1])
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(processes)}
        environment = [{**address, "RANK": str(n), "LOCAL_RANK": str(n)} for n in range(processes)]
    command = [sys.executable, "-m", module, *map(str, arguments)]
    started = [
        subprocess.Popen(
            command,
            env={**os.environ, **variables, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for variables in environment
    ]
    outputs = [process.communicate(timeout=300) for process in started]
    return [
        subprocess.CompletedProcess(command, process.returncode, *output)
        for process, output in zip(started, outputs, strict=True)
    ]


def state_of(folder: Path) -> dict[str, torch.Tensor]:
    checkpoint = torch.load(folder / "checkpoint.pt", weights_only=True)
    assert checkpoint["step"] == checkpoint["steps"] == 3
    return {
        f"{part}.{name}": value.double()
        for part in ("weights", "averaged")
        for name, value in checkpoint[part].items()
    }


def losses_of(folder: Path) -> list[float]:
    with (folder / "log.csv").open() as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


@pytest.mark.parametrize("stage", ["detector", "segmenter"])
def test_two_processes_do_the_step_of_one(stage, config, tiny_data, tmp_path):
    for count, name in enumerate(("one", "two"), start=1):
        for done in run("tests.train_double", count, config, stage, tiny_data, tmp_path / name):
            assert done.returncode == 0, done.stderr
    one, two = (state_of(tmp_path / name / stage) for name in ("one", "two"))
    assert one.keys() == two.keys()
    differences = {
        name: float(((one[name] - two[name]).abs() / one[name].abs().clamp(min=1)).max())
        for name in one
    }
    worst = max(differences, key=differences.__getitem__)
    print(f"{stage}: {worst} differs by {differences[worst]:.2g}")
    assert differences[worst] < TOLERANCE, worst
    losses = [losses_of(tmp_path / name / stage) for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], rel=TOLERANCE) and len(losses[0]) == 3


def test_the_halves_of_a_batch_hold_different_numbers_of_cells(config, tiny_data):
    loaded = load_config(config)
    images = load_labelled(tiny_data, "train", loaded.method)
    samples = DetectorSamples(images, [], loaded.stages["detector"], loaded.method)
    halves = [sum(len(samples[n][1]) for n in half) for half in (range(2), range(2, 4))]
    assert halves[0] != halves[1]


def test_one_process_goes_on_where_two_stopped(config, tiny_data, tmp_path):
    short = config.with_name("short.toml")
    short.write_text(TINY.replace("steps = 3\nprecision", "steps = 2\nprecision"))
    for done in run("training.train", 2, short, "segmenter", tiny_data, tmp_path / "both"):
        assert done.returncode == 0, done.stderr
    train.main([str(config), "segmenter", str(tiny_data), str(tmp_path / "both")])
    assert state_of(tmp_path / "both" / "segmenter")
    assert len(losses_of(tmp_path / "both" / "segmenter")) == 3


def test_a_batch_that_cannot_be_shared_is_refused(config, tiny_data, tmp_path):
    config.write_text(TINY.replace("batch = 4", "batch = 3"))
    for done in run("training.train", 2, config, "segmenter", tiny_data, tmp_path / "run"):
        assert done.returncode != 0
        assert "'batch' is 3, but 2 processes were started" in done.stderr
