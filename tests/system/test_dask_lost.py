"""What a command says and does while the cluster is not there, or when it has gone."""

import contextlib
import dataclasses
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest
from distributed import LocalCluster

from app.files.arrays import ImageError
from cluster import connection as connection_module
from cluster.connection import Connection, SchedulerLost, WorkerError
from cluster.workers import Networks, open_here, predictor_of
from tests.app.command_line import TOY, arguments, labels, report, run_in

IN_ONE_PROCESS = {"processes": False, "protocol": "tcp://", "dashboard_address": ":0"}
# A scheduler and its worker in one process, which ends when the nth part of a kind has begun, or
# when it is told to.
CLUSTER = """
import os, signal, sys
from distributed import LocalCluster, SchedulerPlugin

class Ends(SchedulerPlugin):
    begun = 0

    def transition(self, key, start, finish, *_, **more):
        self.begun += finish == "processing" and str(key).startswith(sys.argv[1] + "-")
        if self.begun == int(sys.argv[2]):
            if sys.argv[3] == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            self.begun += 1
            cluster.loop.call_later(0, cluster.scheduler.close)

how = {"processes": False, "protocol": "tcp://", "dashboard_address": ":0"}
cluster = LocalCluster(n_workers=1, threads_per_worker=1, **how)
cluster.scheduler.add_plugin(Ends())
print(cluster.scheduler.address, flush=True)
sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Little is waited for without a word."""
    monkeypatch.setattr(connection_module, "_SILENCE", 0.5)
    monkeypatch.setattr(connection_module, "_LOOK", 0.1)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)


@contextlib.contextmanager
def cluster_that_ends(kind="nothing", nth=1, how="killed"):
    """Its address, and its process."""
    command = [sys.executable, "-c", CLUSTER, kind, str(nth), how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "PYTHONPATH": "."}
    with subprocess.Popen(command, text=True, env=environment, **pipes) as process:
        try:
            # A port of its own, and none that a line of a library's comes before.
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def command(module, address, folder, *more):
    given = arguments(folder / "in", folder / "out", *more)
    what = [sys.executable, "-m", module, address, *given]
    return subprocess.run(what, capture_output=True, text=True, timeout=120, check=False)


def wait_until(said, capsys):
    """What was said since, as soon as it has a text in it."""
    heard, end = "", time.monotonic() + 30
    while said not in heard:
        assert time.monotonic() < end, heard
        heard += capsys.readouterr().err
        time.sleep(0.05)
    return heard


@pytest.mark.parametrize("how", ["killed", "closed"])
def test_a_scheduler_that_goes_ends_the_command_in_a_line(how, three):
    with cluster_that_ends("find", 1, how) as (address, _):
        done = command("cluster.slide", address, three)
    assert done.returncode == 3 and "Traceback" not in done.stderr, done.stderr
    assert "error: tcp://" in done.stderr
    assert "the scheduler has gone; start it again, then this with --resume" in done.stderr


def test_what_was_done_before_the_scheduler_went_is_kept(three):
    assert run_in(three) == 0
    alone = labels(three)
    (three / "out").rename(three / "one")
    with cluster_that_ends("choose", 3) as (address, _):
        assert command("cluster.slide", address, three).returncode == 3
    assert len(labels(three)) == 2 and len(report(three)[1]) == 2
    with cluster_that_ends() as (address, _):
        done = command("cluster.slide", address, three, "--resume")
    assert done.returncode == 0 and "2 settled already" in done.stderr, done.stderr
    assert labels(three) == alone


def test_without_a_worker_the_command_says_so_and_waits(capsys):
    with (
        LocalCluster(n_workers=0, **IN_ONE_PROCESS) as cluster,
        Connection(cluster.scheduler_address) as connection,
    ):
        first = threading.Timer(2, cluster.scale, [1])
        first.start()
        assert connection.await_worker() == 1 and connection.threads > 0
        assert "no worker has come yet; waiting for one (dask worker" in capsys.readouterr().err
        first.join()
        cluster.scale(0)
        wait_until("no worker is there any more", capsys)
        part = connection.submit(pow, 3, 4)
        cluster.scale(1)
        assert connection.results_of([part], "a.png") == [81]


def test_a_scheduler_that_does_not_answer_is_waited_for(capsys):
    with cluster_that_ends() as (address, process), Connection(address) as connection:
        connection.await_worker()
        process.send_signal(signal.SIGSTOP)
        part = connection.submit(pow, 3, 4)
        wait_until("the scheduler doesn't answer; waiting for it", capsys)
        process.send_signal(signal.SIGCONT)
        assert connection.results_of([part], "a.png") == [81]
        process.kill()
        with pytest.raises(SchedulerLost):
            connection.results_of([connection.submit(time.sleep, 60)], "a.png")
        assert connection.is_lost


def refuse(_):
    raise WorkerError("a worker on B has other networks")


def test_an_image_that_a_worker_refuses_is_named(capsys):
    with (
        LocalCluster(n_workers=1, **IN_ONE_PROCESS) as cluster,
        Connection(cluster.scheduler_address) as connection,
        connection.waiting("waiting for Godot"),
    ):
        with pytest.raises(ImageError, match=r"a\.png: a worker on B has other networks"):
            connection.results_of([connection.submit(refuse, 0)], "a.png")
        wait_until("waiting for Godot", capsys)


def test_a_worker_that_comes_later_with_other_networks_is_refused():
    networks = open_here(Networks(TOY.resolve(), "cpu", 1, "auto")).networks
    assert predictor_of(networks).graphs[0].sha256 == networks.graphs[0]
    with pytest.raises(WorkerError, match=r"has other networks in .*toy_weights"):
        predictor_of(dataclasses.replace(networks, graphs=("0" * 64,) * 2))
    with pytest.raises(WorkerError, match=r"no graphs of 8-bit integers.*; end this worker"):
        predictor_of(dataclasses.replace(networks, precision="int8"))


@pytest.mark.parametrize("module", ["cluster.slide", "cluster.folder"])
def test_the_usage_line_has_the_command_and_the_scheduler(module):
    done = subprocess.run(
        [sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(f"usage: python -m {module} SCHEDULER [-h] ")
    assert f"python -m {module} SCHEDULER " in done.stdout.split("\n\n", 2)[2]
    for given, problem in (
        ([], "error: the scheduler's address was wanted first"),
        (["in", "out"], "error: in: the scheduler's address was wanted first"),
        (["tcp://a:1", "in"], "error: the following arguments are required: output"),
    ):
        what = [sys.executable, "-m", module, *given]
        wrong = subprocess.run(what, capture_output=True, text=True, check=False)
        assert wrong.returncode == 2 and wrong.stderr.startswith(problem), wrong.stderr
