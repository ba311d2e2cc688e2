"""A run's sign of life: told by its process on this machine, by its age from others."""

import json
import os
import subprocess
import sys
import time

import pytest

from app.running.lease import BEAT, DEAD_AFTER, Lease, is_alive, read_lease
from tests.app.crashing import wait_for


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.lease"


def test_a_run_of_this_machine_lives_as_long_as_its_process(path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lease = Lease(path, process.pid, config="x")
    assert read_lease(path)["config"] == "x" and read_lease(path)["process"] == process.pid
    # However old the last sign of life is: a process that was stopped may go on.
    assert is_alive(path, time.time()) and is_alive(path, time.time() + 10 * DEAD_AFTER)
    process.communicate(b"\n")
    assert not is_alive(path, time.time())
    lease.end()
    assert not path.exists() and not is_alive(path, time.time())


def test_a_number_that_another_process_got_since_is_not_that_run(path):
    Lease(path, os.getpid()).end()
    lease = Lease(path, os.getpid())
    told = read_lease(path)
    lease.end()
    path.write_text(json.dumps({**told, "started": "1"}))
    assert not is_alive(path, time.time())


def test_a_process_that_ended_and_was_not_waited_for_is_dead(path):
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    lease = Lease(path, process.pid)
    process.stdin.close()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not is_alive(path, time.time())
    process.wait()
    lease.end()


@pytest.mark.parametrize(("age", "alive"), [(DEAD_AFTER - 1, True), (DEAD_AFTER + 1, False)])
def test_a_run_of_another_machine_lives_while_it_gives_signs(age, alive, path):
    path.write_text(json.dumps({"machine": "another", "process": os.getpid(), "started": "1"}))
    assert is_alive(path, path.stat().st_mtime + age) == alive


@pytest.mark.parametrize("text", ["", "[1]", "{"])
def test_a_lease_that_tells_nothing_counts_by_its_age(text, path):
    path.write_text(text)
    now = path.stat().st_mtime
    assert read_lease(path) == {} and is_alive(path, now) and not is_alive(path, now + DEAD_AFTER)


def test_signs_of_life_come_by_themselves(path, monkeypatch):
    monkeypatch.setattr("app.running.lease.BEAT", 0.01)
    lease = Lease(path, os.getpid())
    os.utime(path, (0, 0))
    while path.stat().st_mtime == 0:  # for ever, if none comes
        time.sleep(0.01)
    lease.end()
    assert BEAT < DEAD_AFTER / 3


def test_a_lease_that_is_removed_comes_back_as_it_was(path, monkeypatch):
    monkeypatch.setattr("app.running.lease.BEAT", 0.01)
    lease = Lease(path, os.getpid(), config="x")
    path.unlink()
    wait_for(path.exists)
    assert read_lease(path)["config"] == "x"
    lease.end()
