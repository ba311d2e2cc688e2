"""What a run leaves behind when something ends it, and how the next one goes on."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import tifffile

from app.files.open import open_image
from app.running import run as runs
from app.running.journal import JOURNAL_FILE, RUN_FILE, read_records
from app.running.memory import available_memory
from app.running.options import parse
from app.session import runner
from tests.app.make_toy_graphs import RESOURCES

TOY = Path("tests/app/toy_weights")
NAMES = ("a.png", "b.png", "c.png")

# The command line, with a predictor to which something happens at b.png.
SCRIPT = """
import os, signal, sys, time
from app import __main__ as command
from app.running import run as runs
real = runs.Predictor.predict_file
def struck(self, source, target, *rest):
    if source.name == "b.png":
        {event}
    return real(self, source, target, *rest)
runs.Predictor.predict_file = struck
sys.exit(command.main(sys.argv[1:]))
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    for n, name in enumerate(NAMES):
        cv2.imwrite(str(tmp_path / "in" / name), picture(100 + n))
    return tmp_path


def picture(level: int) -> np.ndarray:
    """Something that stands out of the background."""
    image = np.full((48, 56), 20, np.uint8)
    image[8:24, 8:24] = level
    return image


def arguments(folder: Path, *more) -> list[str]:
    given = (folder / "in", folder / "out", "--weights", TOY, "--device", "cpu", *more)
    return [str(a) for a in given]


def run(folder: Path, *more) -> int:
    return runs.run(parse(arguments(folder, *more)))


def start(folder: Path, event: str = "pass", *more) -> subprocess.Popen[str]:
    script = [sys.executable, "-c", SCRIPT.format(event=event), *arguments(folder, *more)]
    return subprocess.Popen(script, stderr=subprocess.PIPE, text=True)


def report(folder: Path):
    run_json = json.loads((folder / "out" / RUN_FILE).read_text())
    return run_json, {record["image"]: record for record in run_json["images"]}


def labels(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in (folder / "out").glob("*_label.tiff")}


def test_the_report_says_it_all(folder):
    (folder / "in" / "d.png").write_text("no image")
    planes = np.stack([picture(100).astype(np.uint16)] * 3)
    tifffile.imwrite(folder / "in" / "e.tif", planes, photometric="minisblack")
    assert run(folder) == 1
    whole, images = report(folder)
    assert (whole["done"], whole["failed"]) == (4, 1)
    assert whole["provider"] == "CPUExecutionProvider" and whole["stack"] == "refuse"
    settings = json.loads((TOY / "settings.json").read_text())
    assert whole["method"] == settings["method"]
    assert whole["graphs"] == [settings[role]["cpu"] for role in ("detector", "segmenter")]
    a = images["a.png"]
    assert (a["height"], a["width"], a["channels"], a["dtype"]) == (48, 56, 1, "uint8")
    assert a["instances"] == tifffile.imread(folder / "out" / "a_label.tiff").max()
    assert a["seconds"].keys() == {"read", "survey", "look", "detect", "segment", "write"}
    assert 10e6 < a["peak_memory"] < 4e9 and a["warnings"] == []
    assert images["d.png"]["status"] == "failed" and "d.png" in images["d.png"]["error"]
    assert images["e.tif"]["channels"] == 3
    assert "not named" in images["e.tif"]["warnings"][0]
    assert whole["channels"] is whole["percentiles"] is whole["diameter"] is None
    assert not (folder / "out" / JOURNAL_FILE).exists()


def test_resume_does_only_what_is_missing_changed_or_broken(folder, capsys):
    assert run(folder) == 0
    before = labels(folder)
    made = {p.name: p.stat().st_mtime_ns for p in (folder / "out").glob("*_label.tiff")}
    assert run(folder, "--resume") == 0
    assert "3 are settled already" in capsys.readouterr().err
    assert report(folder)[0]["done"] == 3
    (folder / "out" / "a_label.tiff").write_bytes(before["a_label.tiff"][:-7])  # broken
    (folder / "out" / "b_label.tiff").unlink()
    assert run(folder, "--resume") == 0
    assert "1 are settled already" in capsys.readouterr().err
    assert labels(folder) == before
    assert (folder / "out" / "c_label.tiff").stat().st_mtime_ns == made["c_label.tiff"]
    cv2.imwrite(str(folder / "in" / "c.png"), np.zeros((9, 9), np.uint8))  # another image
    assert run(folder, "--resume") == 0
    assert tifffile.imread(folder / "out" / "c_label.tiff").shape == (9, 9)


def test_resume_with_other_options_starts_over(folder, capsys):
    assert run(folder) == 0
    assert run(folder, "--resume", "--stack", "max") == 0
    assert "settled" not in capsys.readouterr().err


def test_without_resume_all_is_done_again(folder, capsys):
    assert run(folder) == run(folder) == 0
    assert "settled" not in capsys.readouterr().err


def test_resume_tries_what_failed_again(folder):
    (folder / "in" / "b.png").write_text("copied badly")
    assert run(folder) == 1
    cv2.imwrite(str(folder / "in" / "b.png"), np.full((48, 56), 101, np.uint8))
    assert run(folder, "--resume") == 0
    assert report(folder)[0]["done"] == 3


@pytest.mark.parametrize("crash", ["SIGSEGV", "SIGABRT", "SIGKILL"])
def test_a_crash_of_the_process_costs_one_image(crash, folder):
    process = start(folder, f"os.kill(os.getpid(), signal.{crash})")
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 1
    assert sorted(labels(folder)) == ["a_label.tiff", "c_label.tiff"]
    assert f"error: b.png: ended the process ({crash}" in errors
    whole, images = report(folder)
    assert (whole["done"], whole["failed"]) == (2, 1)
    assert crash in images["b.png"]["error"]


def test_several_that_were_at_work_are_tried_again_alone(folder):
    # At the first try a.png is still at work when b.png crashes.
    wait = "MARK = target.with_name('mark')\n    if source.name == 'a.png' and not MARK.exists():\n"
    wait += "        MARK.touch()\n        time.sleep(60)\n    return real"
    script = SCRIPT.format(event="time.sleep(0.5); os.abort()").replace("return real", wait)
    command = [sys.executable, "-c", script, *arguments(folder, "--threads", "2")]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60, check=False)
    assert "SIGABRT at a.png or b.png; going on one image at a time" in done.stderr
    assert "error: b.png: ended the process (SIGABRT" in done.stderr
    assert done.returncode == 1 and sorted(labels(folder)) == ["a_label.tiff", "c_label.tiff"]
    whole, images = report(folder)
    assert (whole["done"], whole["failed"]) == (2, 1) and images["b.png"]["status"] == "failed"


@pytest.fixture
def meeting(monkeypatch):
    """Where two images have to be at work at once; broken if they are not."""
    place = threading.Barrier(2, timeout=2)
    real = runs.Predictor.predict_file

    def met(*arguments):
        place.wait()
        return real(*arguments)

    monkeypatch.setattr(runs.Predictor, "predict_file", met)
    return place


def test_small_images_are_done_together_and_come_out_as_alone(folder, meeting, monkeypatch):
    cv2.imwrite(str(folder / "in" / "d.png"), np.full((48, 56), 103, np.uint8))
    assert run(folder, "--threads", "2") == 0
    together = labels(folder)
    monkeypatch.undo()
    assert run(folder, "--threads", "1") == 0
    assert labels(folder) == together and len(together) == 4


@pytest.mark.parametrize("why", ["one thread", "little memory", "large images"])
def test_images_are_done_alone_where_that_is_better(why, folder, meeting):
    more = ["--threads", "1" if why == "one thread" else "2"]
    if why == "little memory":
        more += ["--max-memory", str(RESOURCES.working_memory * 1.9 / 1e9)]
    if why == "large images":
        for name in NAMES:
            cv2.imwrite(str(folder / "in" / name), np.zeros((64, 65), np.uint8))
    assert run(folder, *more) == 1
    assert meeting.broken and not labels(folder)


def test_a_warning_is_told_of_its_own_image(folder, meeting):
    (folder / "in" / "c.png").unlink()
    planes = np.stack([picture(100).astype(np.uint16)] * 3)
    tifffile.imwrite(folder / "in" / "b.png", planes, photometric="minisblack")
    assert run(folder, "--threads", "2") == 0
    images = report(folder)[1]
    assert images["a.png"]["warnings"] == [] and len(images["b.png"]["warnings"]) == 1


def test_a_crash_before_any_image_is_not_repeated(folder):
    script = SCRIPT.replace("real =", "runs.list_images = lambda _: os.abort()\nreal =")
    done = subprocess.run(
        [sys.executable, "-c", script.format(event="pass"), *arguments(folder)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    assert "ended by SIGABRT before any image" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_ends_the_run_cleanly(number, folder):
    process = start(folder, "time.sleep(60)", "--threads", "1")
    wait_for(lambda: len(labels(folder)) == 1 and "b.png" in read_records(folder / "out"))
    began = time.monotonic()
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and time.monotonic() - began < 2
    assert "interrupted" in errors and list(labels(folder)) == ["a_label.tiff"]
    assert list(report(folder)[1]) == ["a.png"]


class Endless:
    """A session whose graph ends when it is told to, and not before."""

    ended = False

    def get_inputs(self):
        return [SimpleNamespace(name="images")]

    def run(self, _outputs, _inputs, options):
        wait_for(lambda: options.terminate)
        self.ended = True


def test_a_signal_does_not_wait_for_the_graph():
    session = Endless()
    # A shell that starts the tests in the background lets them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        runner(session)(np.zeros((1, 32, 32, 3), np.uint8))
    wait_for(lambda: session.ended)


def test_a_killed_run_leaves_no_child_and_can_be_resumed(folder):
    process = start(folder, "print(os.getpid(), file=sys.stderr, flush=True); time.sleep(60)")
    assert process.stderr is not None
    child = int(next(line for line in process.stderr if line.strip().isdigit()))
    process.kill()
    process.communicate()
    wait_for(lambda: not is_running(child))
    assert (folder / "out" / JOURNAL_FILE).exists()
    assert run(folder, "--resume") == 0
    assert sorted(p.name for p in (folder / "out").iterdir()) == [
        "a_label.tiff",
        "b_label.tiff",
        "c_label.tiff",
        RUN_FILE,
    ]


def test_a_full_disk_costs_an_image_and_no_other(folder, capsys, monkeypatch):
    real = tifffile.imwrite

    def full(path, *rest, **more):
        if "b_label" in path.name:
            Path(path).write_bytes(b"half of it")
            raise OSError(28, "No space left on device")
        real(path, *rest, **more)

    monkeypatch.setattr(tifffile, "imwrite", full)
    assert run(folder) == 1
    assert "b_label.tiff can't be written (No space left" in capsys.readouterr().err
    assert sorted(labels(folder)) == ["a_label.tiff", "c_label.tiff"]
    assert not list((folder / "out").glob(".*"))


def test_memory_is_kept_to_or_refused_with_the_figure(folder, capsys):
    working = RESOURCES.working_memory
    assert run(folder, "--max-memory", working / 1e9 / 2) == 2
    assert "--max-memory 100 MB: 200 MB are needed" in capsys.readouterr().err
    cv2.imwrite(str(folder / "in" / "large.png"), np.full((1500, 2000, 3), 9, np.uint8))
    tifffile.imwrite(
        folder / "in" / "large2.tif", np.full((1500, 2000, 3), 9, np.uint8), photometric="rgb"
    )
    assert run(folder, "--max-memory", (working + 8e6) / 1e9) == 1
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert len(errors) == 1
    assert "large.png: would take 9 MB" in errors[0] and "8 MB are left" in errors[0]


def test_running_out_of_memory_costs_one_image(folder, capsys, strike):
    strike("b.png", MemoryError())
    assert run(folder) == 1
    assert "b.png: not enough memory" in capsys.readouterr().err
    assert len(labels(folder)) == 2


def test_available_memory_respects_the_containers_limit(tmp_path):
    table = tmp_path / "meminfo"
    table.write_text("MemTotal:       9 kB\nMemAvailable:    4000 kB\n")
    assert available_memory(tmp_path, table) == 4000 * 1024
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000\n")
    assert available_memory(tmp_path, table) == 4000 * 1024
    (tmp_path / "memory.max").write_text("51000\n")
    assert available_memory(tmp_path, table) == 50000
    assert available_memory(tmp_path / "none", tmp_path / "none") > 2**60


@pytest.mark.parametrize(("way", "expected"), [("max", [1, 2, 3, 4]), ("1", [0, 2, 0, 4])])
def test_a_stack_is_projected_or_a_plane_is_picked(way, expected, tmp_path):
    planes = np.array([[[1, 0, 3, 0]], [[0, 2, 0, 4]]], np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZYX"})
    with open_image(path, way) as image:
        assert image[:, :][0, :, 0].tolist() == expected


def wait_for(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "nothing happened in a minute"
        time.sleep(0.02)


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
