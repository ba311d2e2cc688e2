"""Images at which whole runs have died: done last and alone, failed by name the third time."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from app.predict import Predictor
from app.running.journal import FAILED, RUNS_FOLDER, STARTED, identity, journal_path
from app.running.merge import merge
from app.running.options import parse_merge
from app.running.plan import Job
from app.running.sharing import Share
from app.running.supervise import blame_image
from tests.app.command_line import labels, picture, report, run_in, write
from tests.app.crashing import dead_runs, errors_of, start

KILLED_ALL = "os.killpg(0, signal.SIGKILL)"  # as a container ends that has too little memory
OTHERS = ["a_label.tiff", "c_label.tiff"]


@pytest.fixture
def join(tmp_path, monkeypatch):
    """Join the folder as a run of a name; ``dead`` names those that count as dead."""
    dead = dead_runs(monkeypatch)

    def one(name, *, resume=True, restarted=False):
        return Share(tmp_path, name, os.getpid(), "x", {}, resume, restarted)

    one.folder, one.dead = tmp_path, dead
    return one


def job(source=__file__) -> Job:
    return Job(Path(source), "a", Path("out/a_label.tiff"), "a_label.tiff")


def begin(share, status=STARTED) -> None:
    assert share.take(job())
    share.journal.append({"image": "a", "file": identity(Path(__file__)), "status": status})


# Which deaths count


def test_each_run_that_died_at_an_image_counts(join):
    for n in range(3):
        share = join(str(n))
        assert share.take(job()) and share.deaths(job()) == n
        assert share.take(job()) and share.deaths(job()) == n  # it was put off
        assert share.deaths(job(os.__file__)) == 0  # another file now
        begin(share)
        join.dead.add(str(n))
    assert join("3", resume=False).deaths(job()) == 0


def test_a_run_that_dies_beside_others_counts(join):
    first, second = join("1"), join("2")
    begin(first)
    assert not second.take(job())
    join.dead.add("1")
    assert second.take(job()) and second.deaths(job()) == 1
    begin(second)
    join.dead.add("2")
    third = join("3")
    assert third.take(job()) and third.deaths(job()) == 2
    assert join("4").deaths(job()) == 2  # and who comes to others knows it, too


def test_a_run_that_died_before_it_began_the_image_does_not_count(join):
    assert join("1").take(job())
    join.dead.add("1")
    share = join("2")
    assert share.take(job()) and share.deaths(job()) == 0


def test_a_run_that_was_interrupted_does_not_count(join):
    first, second = join("1"), join("2")
    begin(first)
    first.leave({}, interrupted=True)
    assert second.take(job()) and second.deaths(job()) == 0


def test_an_interrupt_in_between_forgets_no_death(join):
    begin(join("1"))
    join.dead.add("1")
    join("2").leave({}, interrupted=True)
    share = join("3")
    assert share.deaths(job()) == 1
    share.leave({})
    assert not (join.folder / RUNS_FOLDER).exists() and join("4").deaths(job()) == 0


def test_what_has_failed_fails_again_until_a_run_comes_to_its_end(join):
    """Else two such images would take turns for ever to end a task that is started again."""
    for name in "12":
        begin(join(name))
        join.dead.add(name)
    begin(join("3"), FAILED)
    join.dead.add("3")
    share = join("4")
    assert share.deaths(job()) == 2
    share.leave({})
    assert join("5").deaths(job()) == 0


def test_a_restarted_run_knows_them_still_and_is_not_blamed(join):
    begin(join("1"))
    join.dead.add("1")
    join("2")
    assert join("2", restarted=True).deaths(job()) == 1
    assert not blame_image(join.folder, "2", "SIGSEGV")


# What becomes of the images


def leave_behind(folder: Path, deaths: dict[str, int]) -> None:
    """As runs that died so often at the images of some names."""
    (folder / "out" / RUNS_FOLDER).mkdir(parents=True)
    for name, times in deaths.items():
        for n in range(times):
            line = {"image": name, "file": identity(folder / "in" / name), "status": STARTED}
            path = journal_path(folder / "out", f"{name}{n}")
            path.write_text(json.dumps({"run": path.stem, **line}) + "\n")


def test_they_are_done_last_and_alone_or_fail_by_name(folder, monkeypatch, capsys):
    for n in range(8):
        write(folder / "in" / f"{n}.png", picture(100 + n))
    leave_behind(folder, {"0.png": 1, "1.png": 1, "2.png": 2})
    began, at_work, most = [], set(), {}
    real, lock = Predictor.predict_file, threading.Lock()

    def watch(self, source, *rest):
        with lock:
            began.append(source.stem)
            at_work.add(source.stem)
            for name in at_work:
                most[name] = max(most.get(name, 0), len(at_work))
        time.sleep(0.05)
        try:
            return real(self, source, *rest)
        finally:
            with lock:
                at_work.discard(source.stem)

    monkeypatch.setattr(Predictor, "predict_file", watch)
    assert run_in(folder, "--resume", "--threads", "2") == 1
    assert sorted(began[:5]) == list("34567") and sorted(began[5:]) == list("01")
    assert most["0"] == most["1"] == 1 and most["5"] == 2
    told = capsys.readouterr().err
    assert "error: " in told and "2.png: 2 runs were killed while they worked on" in told
    assert report(folder)[1]["2.png"]["status"] == FAILED and "7 of 8 images done" in told
    assert run_in(folder, "--resume") == 0 and report(folder)[0]["done"] == 8


@pytest.mark.parametrize("options", [("--threads", "2"), ("--threads", "1", "--shard", "0/1")])
def test_three_starts_do_all_the_others(options, three, capsys):
    given = [KILLED_ALL, *options, "--resume"]
    for _ in range(2):
        task = start(three, *given, before="os.setsid()")
        errors_of(task)
        assert task.returncode == -signal.SIGKILL
    task = start(three, *given, before="os.setsid()")
    told = errors_of(task)
    assert task.returncode == 1 and "b.png: 2 runs were killed" in told
    assert sorted(labels(three)) == OTHERS
    if "--shard" in options:
        assert merge(parse_merge([str(three / "out")])) == 1
        assert "b.png: 2 runs were killed" in capsys.readouterr().err
    assert report(three)[1]["b.png"]["status"] == FAILED
    assert run_in(three, *options, "--resume") == 0
