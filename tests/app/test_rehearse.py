"""The rehearsal of the paper's table: the fit, and how it sees that a GPU finds something else."""

import json
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from app.settings import load_settings
from benchmarks import parity, rehearse
from benchmarks.on_device import Report
from benchmarks.parity import Compared, DeviceUnusableError, compare_samples, run_on_device
from benchmarks.rehearse import Run, fit, median_runs
from tests.app.command_line import TOY

TERMS = [0.3, 0.25, 0.0004]
SIZES = [(0.07, 30), (0.25, 200), (2, 380), (2, 1720), (9, 1710), (30, 25800), (88, 80000)]
RUNS = [Run(f"{m}_{n}", m, n, TERMS[0] + TERMS[1] * m + TERMS[2] * n) for m, n in SIZES]
BOXES = np.array([[10, 10, 30, 40], [50.5, 10, 80, 44], [10, 60, 42, 90]], np.float32)
GPU = Report(
    provider="CUDAExecutionProvider",
    graphs=["detector_fp16.onnx", "segmenter_fp16.onnx"],
    runtime="1.31.1",
    processor="a processor",
    card="a card, driver 580.1",
    window=1536,
    window_seconds=0.0123,
    crops=64,
    crops_seconds=0.0045,
    memory=2_340_000_000,
)
CPU = replace(GPU, provider="CPUExecutionProvider", card=None)
SAME = Compared("a", boxes=200, single=0, distance=0.2, f1=0.9, f1_of_floats=0.9)


def test_the_fit_recovers_the_terms():
    assert fit(RUNS) == pytest.approx(TERMS, rel=1e-6)


def test_no_term_is_negative():
    runs = [replace(run, seconds=0.25 * run.megapixels) for run in RUNS]
    assert fit(runs) == pytest.approx([0, 0.25, 0], abs=1e-9)


def test_the_median_of_runs_counts():
    slow = [replace(run, seconds=9 * run.seconds) for run in RUNS]
    assert median_runs([slow, RUNS, RUNS]) == RUNS


@pytest.mark.parametrize(("shift", "same"), [(0.4, True), (0.6, False)])
def test_boxes_that_are_too_far_apart_are_seen(shift, same):
    moved = BOXES.copy()
    moved[1, 0] += shift
    pairs, distance = parity.pair_boxes(moved, BOXES[::-1])
    assert pairs == 3 and distance == pytest.approx(shift, abs=1e-5)
    wrong = parity.differences([replace(SAME, distance=distance)])
    assert wrong == ([] if same else ["boxes are up to 0.60 pixels apart, 0.5 at most wanted"])


def test_boxes_elsewhere_make_no_pairs():
    assert parity.pair_boxes(BOXES + np.float32(300), BOXES) == (0, 0.0)
    assert parity.pair_boxes(BOXES[:0], BOXES) == (0, 0.0)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"single": 2}, None),
        ({"single": 3}, "1.5% of the boxes have no partner"),
        ({"f1": 0.898}, None),
        ({"f1": 0.896}, "mean F1 differs by -0.0040"),
        ({"f1": 0.904}, "mean F1 differs by +0.0040"),
    ],
)
def test_what_else_may_differ(change, told):
    wrong = parity.differences([replace(SAME, **change)])
    assert len(wrong) == (told is not None) and (told is None or told in wrong[0])


def test_the_graphs_on_this_cpu(tmp_path):
    found, moved = tmp_path / "found", tmp_path / "moved"
    report = run_on_device("cpu", "float", found, weights=TOY)
    settings = load_settings(TOY)
    assert report.provider == "CPUExecutionProvider" and not report.on_gpu
    assert (report.window, report.crops) == (settings.method.window, settings.resources.crop_batch)
    assert report.window_seconds > 0 and report.crops_seconds > 0 and report.memory > 1e7
    moved.mkdir()
    for path in found.glob("*.npz"):
        with np.load(path) as arrays:
            nothing = np.zeros_like(arrays["labels"])
            np.savez(moved / path.name, labels=nothing, boxes=arrays["boxes"] + np.float32(0.6))
    samples = compare_samples(found, moved)
    assert len(samples) == 6 and sum(sample.boxes for sample in samples) > 0
    assert max(sample.distance for sample in samples) == pytest.approx(0.6, abs=1e-4)
    assert all(one.single == one.f1_of_floats == 0 for one in samples)
    assert compare_samples(found, found)[0].distance == 0


def test_without_a_card_it_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert rehearse.main(["--device", "cuda", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: device cuda: ") and error.count("\n") == 1
    assert "take the CPU" in error


def test_in_an_image(tmp_path, monkeypatch):
    def docker(command, **_):
        commands.append(command)
        return subprocess.CompletedProcess(command, 125, "", "docker: no GPU\n")

    commands: list[list[str]] = []
    monkeypatch.setattr(parity.subprocess, "run", docker)
    with pytest.raises(DeviceUnusableError, match=r"^docker: no GPU$"):
        run_on_device("cuda", "auto", tmp_path / "found", "vsm:latest", "all")
    (command,) = commands
    assert command[:5] == ["docker", "run", "--rm", "--gpus", "all"]
    assert f"{tmp_path / 'found'}:/found" in command
    module = ["python3", "-m", "benchmarks.on_device", "cuda", "auto", "/images", "/found"]
    assert command[-8:] == ["vsm:latest", *module]


@pytest.mark.parametrize(
    ("report", "distance", "status", "told"),
    [
        (GPU, 0.2, 0, "The GPU finds the same."),
        (GPU, 0.6, 1, "It differs: boxes are up to 0.60 pixels apart"),
        (CPU, 0.6, 0, "CPUExecutionProvider"),  # graphs of integers are others
    ],
)
def test_the_whole_of_it(report, distance, status, told, tmp_path, monkeypatch, capsys):
    devices: list[tuple[str, str]] = []
    known = {run.name: run for run in RUNS}

    def on_device(device, precision, *_):
        devices.append((device, precision))
        return report

    monkeypatch.setattr(rehearse, "run_on_device", on_device)
    monkeypatch.setattr(rehearse, "compare_samples", lambda *_: [replace(SAME, distance=distance)])
    monkeypatch.setattr(rehearse, "make_images", lambda *_: list(known))
    times = iter([factor for factor in (1, 7, 1) for _ in known])
    monkeypatch.setattr(
        rehearse,
        "time_image",
        lambda name, *_: replace(known[name], seconds=known[name].seconds * next(times)),
    )
    given = ["--device", "cuda", "--repeats", "3", "--out", str(tmp_path)]
    assert rehearse.main(given) == status
    assert devices == [("cuda", "auto"), ("cpu", "float")]
    text = capsys.readouterr().out
    assert told in text and text == (tmp_path / "rehearsal.md").read_text()
    for line in (
        "| to start | 0.30000 | 6.97 | 23.2 |",
        "| a megapixel | 0.25000 | 2.48 | 9.9 |",
        "| a cell | 0.00040 | 0.0037 | 9.2 |",
        "| detector, 1536 x 1536 pixels | 0.0123 |",
        f"| a | 200 | 0 | {distance:.2f} | 0.9000 | 0.9000 |",
    ):
        assert line in text.splitlines()
    figures = json.loads((tmp_path / "rehearsal.json").read_text())
    assert figures["terms"] == pytest.approx(dict(zip(rehearse.PAPER, TERMS, strict=True)))
    assert figures["terms_of_each_run"][1][1] == pytest.approx(7 * TERMS[1])
