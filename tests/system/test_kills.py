"""Processes that crash, are killed or interrupted: what they leave, and how the next goes on."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from app.running.journal import RUN_FILE, RUNS_FOLDER, read_records
from tests.app.command_line import labels, outputs, report, run_in
from tests.app.crashing import FOR_EVER, errors_of, start, wait_for

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("crash", ["SIGABRT", "SIGKILL"])
def test_a_crash_costs_one_image_however_it_came(crash, three):
    process = start(three, f"os.kill(os.getpid(), signal.{crash})")
    errors = errors_of(process)
    assert process.returncode == 1
    assert sorted(labels(three)) == ["a_label.tiff", "c_label.tiff"]
    assert f"error: b.png: ended the process ({crash}" in errors
    whole, images = report(three)
    assert (whole["done"], whole["failed"]) == (2, 1)
    assert crash in images["b.png"]["error"]


def test_several_that_were_at_work_are_tried_again_alone(three):
    # At the first try a.png is still at work when b.png crashes.
    before = f"""
from app.predict import Predictor
at_work, honest = threading.Event(), Predictor.predict_file
def slow(self, source, target, *rest):
    mark = target.with_name("mark")
    if source.name == "a.png" and not mark.exists():
        mark.touch()
        at_work.set()
        {FOR_EVER}
    at_work.set()
    return honest(self, source, target, *rest)
Predictor.predict_file = slow
"""
    process = start(three, "at_work.wait(); os.abort()", "--threads", "2", before=before)
    errors = errors_of(process)
    assert re.search("SIGABRT at (a.png or b|b.png or a).png; going on one image at a time", errors)
    assert "error: b.png: ended the process (SIGABRT" in errors
    assert process.returncode == 1 and sorted(labels(three)) == ["a_label.tiff", "c_label.tiff"]
    whole, images = report(three)
    assert (whole["done"], whole["failed"]) == (2, 1) and images["b.png"]["status"] == "failed"


def test_a_crash_before_any_image_is_not_repeated(three):
    before = "from app.running import run\nrun.find_images = lambda *_: os.abort()"
    process = start(three, "pass", before=before)
    assert "ended by SIGABRT before any image" in errors_of(process)
    assert process.returncode == 3


@pytest.mark.parametrize("threads", ["1", "2"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_parent_ends_the_run_cleanly(number, threads, three):
    """Though an image is at work that would never end."""
    process = start(three, FOR_EVER, "--threads", threads)
    done = ["a_label.tiff"] if threads == "1" else ["a_label.tiff", "c_label.tiff"]
    wait_for(lambda: sorted(labels(three)) == done and "b.png" in read_records(three / "out"))
    process.send_signal(number)
    assert "interrupted" in errors_of(process) and process.returncode == 130
    assert sorted(labels(three)) == done
    assert [f"{Path(name).stem}_label.tiff" for name in report(three)[1]] == done


def test_a_killed_run_leaves_no_child_and_can_be_resumed(three):
    event = f"print(os.getpid(), file=sys.stderr, flush=True); {FOR_EVER}"
    with start(three, event) as process:
        assert process.stderr is not None
        child = int(next(line for line in process.stderr if line.strip().isdigit()))
        process.kill()
    try:
        wait_for(lambda: not is_running(child))
    finally:  # no test leaves one behind either
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    assert (three / "out" / RUNS_FOLDER).exists()
    assert run_in(three, "--resume") == 0
    assert outputs(three / "out") == ["a_label.tiff", "b_label.tiff", "c_label.tiff", RUN_FILE]


def is_running(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"
