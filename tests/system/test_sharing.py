"""Real processes in one output folder: each image once, whatever becomes of one of them."""

import signal
import subprocess
import sys
from collections import Counter

import pytest

from app.running.journal import RUNS_FOLDER, read_records
from tests.app.command_line import arguments, labels, picture, report, run_in, write
from tests.app.crashing import FOR_EVER, GUARD, errors_of, start, wait_for

pytestmark = pytest.mark.smoke


def test_six_runs_at_once_make_each_image_once(folder):
    names = [f"{n:02}.png" for n in range(60)]
    for n, name in enumerate(names):
        write(folder / "in" / name, picture(100 + n))
    command = [sys.executable, "-m", "app", *arguments(folder / "in", folder / "out")]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    told = [run.communicate(timeout=GUARD)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 6, told
    whole, images = report(folder)
    assert sorted(images) == names and whole["done"] == 60 and len(labels(folder)) == 60
    # One that began when all others had ended would have begun anew.
    made = Counter(record["run"] for record in images.values())
    assert set(made) <= set(whole["runs"])
    assert not (folder / "out" / RUNS_FOLDER).exists()
    together = labels(folder)
    assert run_in(folder) == 0 and labels(folder) == together


def test_the_image_of_a_killed_run_is_taken_over_by_one_that_waits(three):
    stuck = start(three, FOR_EVER, "--threads", "1")
    wait_for(lambda: read_records(three / "out").get("b.png"))
    other = start(three, "pass", "--threads", "1")  # has c.png, and waits for b.png
    wait_for(lambda: "c_label.tiff" in labels(three))
    stuck.send_signal(signal.SIGKILL)
    stuck.communicate()
    errors_of(other)
    assert other.returncode == 0
    whole, images = report(three)
    assert whole["done"] == 3 and len(labels(three)) == 3
    assert images["a.png"]["run"] != images["b.png"]["run"] == images["c.png"]["run"]


def test_runs_over_other_images_share_a_folder_but_no_label_image(three):
    stuck = start(three, FOR_EVER, "--threads", "1")
    wait_for(lambda: read_records(three / "out").get("b.png"))
    (three / "more").mkdir()
    for name in ("b.tif", "d.png"):
        write(three / "more" / name, picture(90))
    command = [sys.executable, "-m", "app", *arguments(three / "more", three / "out")]
    other = subprocess.run(command, capture_output=True, text=True, timeout=GUARD)
    assert other.returncode == 1 and "1 of 2 images done" in other.stderr
    assert "b.tif: b_label.tiff is made of another image (b.png)" in other.stderr
    stuck.send_signal(signal.SIGINT)
    errors_of(stuck)
    images = report(three)[1]
    statuses = {name: record["status"] for name, record in images.items()}
    assert statuses == {"a.png": "done", "b.tif": "failed", "d.png": "done"}


def test_an_interrupted_run_leaves_the_rest_to_the_other(three):
    stuck = start(three, FOR_EVER, "--threads", "1")
    wait_for(lambda: read_records(three / "out").get("b.png"))
    other = start(three, "pass", "--threads", "1")
    wait_for(lambda: "c_label.tiff" in labels(three))
    stuck.send_signal(signal.SIGINT)
    assert "interrupted" in errors_of(stuck) and stuck.returncode == 130
    errors_of(other)
    assert other.returncode == 0 and report(three)[0]["done"] == 3
