"""Files that are whole or what they were, whoever else writes them, dies or wakes up again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from app.files import atomic
from app.files.atomic import atomic_write, scratch_path

DAY = 24 * 3600
# Writes half of a file, tells so, and waits.
HALF = """
import sys
from pathlib import Path
from app.files.atomic import atomic_write
with atomic_write(Path(sys.argv[1])) as part:
    part.write_text("half")
    print("half", flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def searched(monkeypatch):
    """Each test begins as a run does: it has looked for leftovers nowhere."""
    monkeypatch.setattr(atomic, "_searched", {})
    return atomic._searched


@pytest.fixture
def writer(tmp_path):
    """Another process that has written half of ``a.txt``."""
    command = [sys.executable, "-c", HALF, str(tmp_path / "a.txt")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        assert process.stdout.readline() == "half\n"
        yield process
        process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def leftover_of(machine, use="part"):
    return f".b.txt.{machine}-1-{10**9}-0.{use}"


def test_two_writers_at_once_both_finish_and_the_last_one_counts(tmp_path):
    path = tmp_path / "a.txt"
    first, second = atomic_write(path), atomic_write(path)
    one, other = first.__enter__(), second.__enter__()
    one.write_text("one, ")
    other.write_text("the other")
    with one.open("a") as file:
        file.write("whole")
    first.__exit__(None, None, None)
    assert path.read_text() == "one, whole"
    second.__exit__(None, None, None)
    assert path.read_text() == "the other" and names(tmp_path) == ["a.txt"]


def test_a_process_at_work_keeps_its_scratch_file_and_finishes(tmp_path, writer):
    with atomic_write(tmp_path / "a.txt") as part:
        part.write_text("mine")
    assert len(names(tmp_path)) == 2
    writer.communicate("\n")
    assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "half"


def test_what_a_killed_process_left_is_removed_by_the_next_run(tmp_path, writer, searched):
    writer.kill()
    writer.wait()
    assert len(names(tmp_path)) == 1
    with atomic_write(tmp_path / "another.txt") as part:
        part.write_text("x")
    assert names(tmp_path) == ["another.txt"]


def test_a_process_that_is_stopped_is_not_dead(tmp_path, writer):
    writer.send_signal(signal.SIGSTOP)
    scratch_path(tmp_path / "a.txt", "part")
    assert len(names(tmp_path)) == 1
    writer.send_signal(signal.SIGCONT)


@pytest.mark.parametrize(("age", "stays"), [(DAY - 60, True), (DAY + 60, False)])
def test_of_another_machine_age_alone_tells(age, stays, tmp_path):
    for use in ("part", "planes", "canvas"):
        left = tmp_path / leftover_of("0" * 8, use)
        left.touch()
        os.utime(left, (time.time() - age,) * 2)
    scratch_path(tmp_path / "a.txt", "part")
    assert len(names(tmp_path)) == 3 * stays


def test_folders_that_were_left_are_removed_and_other_hidden_files_are_not(tmp_path):
    left = tmp_path / leftover_of(atomic._machine())
    (left / "inside").mkdir(parents=True)
    (tmp_path / ".mine.part").touch()
    scratch_path(tmp_path / "a.txt", "part")
    assert names(tmp_path) == [".mine.part"]


def test_a_folder_is_searched_once_a_minute(tmp_path, searched):
    left = tmp_path / leftover_of(atomic._machine())
    for ago, stays in ((None, False), (59.0, True), (61.0, False)):
        if ago is not None:
            searched[tmp_path] = time.monotonic() - ago
        left.touch()
        scratch_path(tmp_path / "a.txt", "part")
        assert left.exists() == stays
