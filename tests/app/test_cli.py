"""The command line: what it writes, what it says and how it ends."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tifffile

from app.processor import available_threads, has_vnni
from app.running import run as runs
from app.running.options import parse
from tests.app import make_toy_graphs
from tests.app.command_line import LABEL, TOY, outputs, run, write


def test_every_image_of_a_folder_gets_its_label_image(folder):
    for name in ("one.png", "two.of.many.TIF", "three.jpg"):
        write(folder / "in" / name)
    assert run(folder / "in", folder / "out") == 0
    names = ["one_label.tiff", "three_label.tiff", "two.of.many_label.tiff"]
    assert outputs(folder / "out") == [*names[:1], "run.json", *names[1:]]
    for name in names:
        with tifffile.TiffFile(folder / "out" / name) as tiff:
            assert len(tiff.pages) == 1
            assert tiff.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
            assert tiff.pages[0].dtype == np.uint16
            np.testing.assert_array_equal(tiff.asarray(), LABEL)


def test_images_that_would_share_a_label_image_cost_only_themselves(folder, capsys):
    for name in ("same.png", "same.tif", "drug_0.1uM.png", "drug_0.5uM.png"):
        write(folder / "in" / name)
    assert run(folder / "in", folder / "out") == 1
    assert outputs(folder / "out") == [
        "drug_0.1uM_label.tiff",
        "drug_0.5uM_label.tiff",
        "run.json",
    ]
    told = capsys.readouterr().err
    assert told.count("same.png and same.tif would both be written to same_label.tiff") == 2
    assert "2 of 4 images done (4 cells, " in told


def test_what_is_passed_over_is_named(folder, capsys):
    write(folder / "in" / "one.png")
    (folder / "in" / "notes.txt").write_text("x")
    (folder / "in" / "scan.nd2").write_bytes(b"\xda\xce\xbe\x0a" + bytes(90))
    (folder / "in" / "more").mkdir()
    assert run(folder / "in", folder / "out") == 0
    told = capsys.readouterr().err
    assert (
        "1 file is no image: notes.txt" in told
        and "not searched (--recursive does that): more" in told
    )
    assert "ND2 is not supported: scan.nd2; " in told
    (folder / "in" / "one.png").unlink()
    assert run(folder / "in", folder / "out") == 2
    assert "no image in this folder" in (told := capsys.readouterr().err) and "scan.nd2" in told


def test_label_images_are_no_images(folder, capsys):
    write(folder / "in" / "one.png")
    assert run(folder / "in", folder / "out") == 0
    assert run(folder / "out", folder / "again") == 2
    assert "out: is the output folder of a run" in capsys.readouterr().err


def test_one_file_as_input(folder):
    write(folder / "in" / "one.png")
    assert run(folder / "in" / "one.png", folder / "deep" / "out") == 0
    np.testing.assert_array_equal(
        tifffile.imread(folder / "deep" / "out" / "one_label.tiff"), LABEL
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (3, 2), (130, 5), (1, 1, 3), (2, 90, 4)])
def test_images_of_any_size(shape, folder):
    write(folder / "in" / "small.png", np.full(shape, 200, np.uint8))
    assert run(folder / "in", folder / "out") == 0
    label = tifffile.imread(folder / "out" / "small_label.tiff")
    assert label.shape == shape[:2] and label.dtype == np.uint16
    assert set(np.unique(label)) - {0} == set(range(1, int(label.max()) + 1))


def test_bad_files_are_named_and_the_good_ones_written(folder, capsys):
    source = folder / "in"
    write(source / "good.png")
    write(source / "also_good.tif")
    (source / "text.png").write_text("not an image")
    (source / "empty.tif").write_bytes(b"")
    data = (source / "also_good.tif").read_bytes()
    (source / "truncated.tif").write_bytes(data[: len(data) // 2])
    assert run(source, folder / "out") == 1
    assert outputs(folder / "out") == ["also_good_label.tiff", "good_label.tiff", "run.json"]
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 3
    for name in ("text.png", "empty.tif", "truncated.tif"):
        assert any(name in line and "again" in line for line in errors)


def test_a_label_image_that_cannot_be_written_costs_no_other(folder, capsys):
    for name in ("a.png", "b.png", "c.png"):
        write(folder / "in" / name)
    (folder / "out" / "b_label.tiff").mkdir(parents=True)
    assert run(folder / "in", folder / "out") == 1
    assert (folder / "out" / "a_label.tiff").is_file()
    assert (folder / "out" / "c_label.tiff").is_file()
    assert not [p for p in (folder / "out").iterdir() if "part" in p.name]
    assert "b_label.tiff can't be written" in capsys.readouterr().err


def test_what_nobody_thought_of_costs_no_other_image(folder, capsys, strike):
    for name in ("a.png", "b.png"):
        write(folder / "in" / name)
    strike("a.png", ZeroDivisionError("of what?"))
    assert run(folder / "in", folder / "out") == 1
    assert (folder / "out" / "b_label.tiff").is_file()
    assert "a.png: ZeroDivisionError: of what?" in capsys.readouterr().err


def test_an_interrupt_keeps_what_is_done(folder, capsys, strike):
    for name in ("a.png", "b.png"):
        write(folder / "in" / name)
    strike("b.png", KeyboardInterrupt())
    assert run(folder / "in", folder / "out") == 130
    assert outputs(folder / "out") == ["a_label.tiff", "run.json"]
    assert "interrupted" in capsys.readouterr().err


def test_a_file_that_may_not_be_read_is_not_called_a_full_disk(folder, capsys, monkeypatch):
    write(folder / "in" / "a.png")

    real = Path.open

    def denied(path, *arguments, **more):
        if path.name == "a.png":
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **more)

    # Root, who runs some tests, may read everything.
    monkeypatch.setattr(Path, "open", denied)
    assert run(folder / "in", folder / "out") == 1
    assert "a.png: can't be opened (Permission denied)" in capsys.readouterr().err


def test_no_input_is_overwritten(folder, capsys):
    write(folder / "in" / "a.png")
    write(folder / "in" / "a_label.tiff")
    before = (folder / "in" / "a_label.tiff").read_bytes()
    assert run(folder / "in", folder / "in" / ".." / "in") == 2
    assert "is the folder of the images; give another" in capsys.readouterr().err
    (folder / "in" / "one").mkdir()
    write(folder / "in" / "one" / "a.png")
    assert run(folder / "in" / "one", folder / "in") == 0  # that is no image of this run
    assert (folder / "in" / "a_label.tiff").read_bytes() != before
    (folder / "in" / "two").mkdir()
    (folder / "in" / "two" / "a_label.tiff").symlink_to(folder / "in" / "one" / "a.png")
    assert run(folder / "in" / "one", folder / "in" / "two") == 2
    assert "a_label.tiff is one of the images" in capsys.readouterr().err


def test_a_folder_that_may_not_be_written_to(folder):
    write(folder / "in" / "a.png")
    (folder / "out").mkdir()
    (folder / "out").chmod(0o555)
    folder.chmod(0o755)
    # Root may write everywhere, so it becomes another user, once all that it needs is imported.
    script = (
        "import os, sys, tqdm, app.running.run; from app import __main__; "
        "os.getuid() or os.setuid(12345); "
        "sys.exit(__main__.main(['in', 'out', '--weights', 'not looked for']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2 and outputs(folder / "out") == []
    user = os.getuid() or 12345
    assert done.stderr == (
        f"error: out: user {user} can't write to this folder of user {os.getuid()} (Permission "
        "denied); make it writable, or run as a user who may "
        '(docker run --user "$(id -u):$(id -g)")\n'
    )


@pytest.mark.filterwarnings("ignore:.*CUDAExecutionProvider")
def test_cuda_that_is_not_there_is_no_silent_cpu(folder, capsys, monkeypatch):
    write(folder / "in" / "a.png")
    cpu_only = onnxruntime.InferenceSession(
        TOY / "detector.onnx", providers=["CPUExecutionProvider"]
    )
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *args, **more: cpu_only)
    arguments = [folder / "in", folder / "out", "--weights", TOY, "--device", "cuda"]
    assert runs.run(parse([str(a) for a in arguments])) == 2
    assert "device cuda: ONNX Runtime could not start CUDA" in capsys.readouterr().err


def test_the_device_that_runs_is_said(folder, capsys):
    write(folder / "in" / "a.png")
    assert run(folder / "in", folder / "out", "--threads", 1) == 0
    assert (
        "1 image on CPUExecutionProvider (detector.onnx, segmenter.onnx), 1 CPU thread\n"
        in capsys.readouterr().err
    )


def test_without_cuda_auto_takes_the_cpu(folder, capsys, monkeypatch):
    write(folder / "in" / "a.png")
    monkeypatch.setattr("app.session._has_driver", lambda: True)  # but CUDA doesn't start
    assert run(folder / "in", folder / "out") == 0
    assert "on CPUExecutionProvider" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "fast"),
    [
        ("flags\t\t: fpu sse avx512f avx512_vnni\n", True),
        ("model name\t: a CPU\nflags\t\t: avx2 avx_vnni fma\n", True),
        ("flags\t\t: avx2 avx512f avx512_vnni_like\n", False),
        ("Features\t: fp asimd\n", False),
        ("", False),
    ],
)
def test_integers_run_where_they_are_fast(flags, fast, folder, monkeypatch, capsys):
    (folder / "cpuinfo").write_text(flags)
    assert has_vnni(folder / "cpuinfo") == fast
    monkeypatch.setattr("app.session.has_vnni", lambda: fast)
    write(folder / "in" / "a.png")
    shutil.copytree(TOY, folder / "w")
    shutil.copy(TOY / "segmenter.onnx", folder / "w" / "whole.onnx")
    settings = json.loads((TOY / "settings.json").read_text())
    graphs = settings["segmenter"]
    graphs["vnni"] = {**graphs["cpu"], "file": "whole.onnx"}
    (folder / "w" / "settings.json").write_text(json.dumps(settings))
    assert run(folder / "in", folder / "out", "--weights", folder / "w") == 0
    name = "whole.onnx" if fast else "segmenter.onnx"
    assert f"(detector.onnx, {name})" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("max 100000", 64), ("150000 100000", 2), ("50000 100000", 1), ("1000000 100000", 10)],
)
def test_threads_respect_the_containers_quota(quota, threads, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(64)))
    (tmp_path / "cpu.max").write_text(quota + "\n")
    assert available_threads(tmp_path) == threads
    (tmp_path / "one" / "cpu").mkdir(parents=True)  # version 1 of control groups
    for name, value in zip(("quota", "period"), quota.replace("max", "-1").split(), strict=True):
        (tmp_path / "one" / "cpu" / f"cpu.cfs_{name}_us").write_text(value + "\n")
    assert available_threads(tmp_path / "one") == threads
    assert available_threads(tmp_path / "none") == 64


def test_the_toy_graphs_are_what_their_script_makes(tmp_path):
    make_toy_graphs.main(tmp_path)
    for role, shape in (("detector", (1, 32, 64, 3)), ("segmenter", (3, 16, 16, 3))):
        batch = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        outputs = []
        for folder in (tmp_path, TOY):
            path = folder / f"{role}.onnx"
            assert path.stat().st_size < 10_000
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            outputs.append(session.run(None, {session.get_inputs()[0].name: batch}))
        for made, committed in zip(*outputs, strict=True):
            np.testing.assert_array_equal(made, committed)
