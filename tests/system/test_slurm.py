"""A real SLURM of two nodes: the array script, and Snakemake's jobs, also when a node is lost."""

import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.app.command_line import labels, report
from tests.app.crashing import wait_for
from tests.system import snakemake_command
from tests.system.slurm_cluster import Cluster, why_not
from tests.system.snakemake_command import IMAGES, OPTIONS, segment_alone, snakemake

pytestmark = pytest.mark.skipif(bool(why_not()), reason=why_not())

SUBMIT = Path("cluster/slurm/submit.sh").resolve()
TASK = Path("tests/system/slurm_task.py").resolve()


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """A folder with all images in ``in``, and in ``out`` what one run makes of them."""
    return segment_alone(tmp_path_factory.mktemp("alone"))


@pytest.fixture
def folder(alone, tmp_path):
    """With the same images in ``in``."""
    (tmp_path / "in").symlink_to(alone / "in")
    return tmp_path


@pytest.fixture
def slurm(tmp_path):
    """A cluster of its own for each test."""
    (tmp_path / "slurm").mkdir()
    with Cluster(tmp_path / "slurm") as cluster:
        yield cluster


def submit(slurm, folder, count, program=""):
    """Start the array and the merging job as a user does; returns their numbers."""
    given = "sh", SUBMIT, count, "in", "out", *OPTIONS
    told = slurm.run(*given, cwd=folder, VSM=program, PYTHONPATH=str(Path.cwd()))
    return re.search(r"jobs (\d+) .* then (\d+) ", told).groups()


def states(slurm, *job):
    """Of a job's tasks, or of all jobs, by number: state and node."""
    chosen = ["-j", *job] if job else []
    lines = slurm.run("squeue", "-hr", "--states=all", *chosen, "-o", "%i %T %N").splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines}


def await_requeued(slurm, task):
    """Wait until SLURM has noticed that node n1 is lost, and let a task of it start at once."""
    wait_for(lambda: states(slurm)[task] == ["PENDING"])
    assert slurm.states()["n1"] == "down*"
    slurm.run("scontrol", "update", f"JobId={task}", "StartTime=now")  # not after two minutes


def await_end(slurm, job):
    """Return the states in which a job's tasks have ended."""
    ended = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
    wait_for(lambda: {state for state, *_ in states(slurm, job).values()} <= ended)
    return [state for state, *_ in states(slurm, job).values()]


def assert_as_by_one_run(folder, alone):
    """All that is in ``out``, but for what differs from run to run."""
    assert labels(folder) == labels(alone) and len(labels(folder)) == IMAGES
    whole, images = report(folder)
    assert (whole["done"], whole["failed"]) == (IMAGES, 0) and "missing" not in whole
    assert images.keys() == report(alone)[1].keys()


def test_an_array_makes_what_one_run_makes(slurm, folder, alone):
    array, merging = submit(slurm, folder, 4)
    assert await_end(slurm, merging) == ["COMPLETED"]
    tasks = states(slurm, array).values()
    assert [state for state, _ in tasks] == ["COMPLETED"] * 4
    assert {node for _, node in tasks} == {"n1", "n2"}
    assert "40 of 40 images done by 4 shards" in (folder / f"merge-{merging}.log").read_text()
    assert_as_by_one_run(folder, alone)
    images = report(folder)[1]
    _, merging = submit(slurm, folder, 4)
    assert await_end(slurm, merging) == ["COMPLETED"]
    assert report(folder)[1] == images  # none was done again


@pytest.mark.parametrize("lose", [Cluster.lose, Cluster.lose_daemons])
def test_a_lost_node_costs_nothing(lose, slurm, folder, alone):
    """Its task is requeued, and runs on the other node; beside the old one, where that lives."""
    array, merging = submit(slurm, folder, 2, f"{sys.executable} {TASK} {folder}")
    wait_for((folder / "waits").exists)
    (task,) = [name for name, (_, *on) in states(slurm, array).items() if on == ["n1"]]
    lose(slurm, "n1")
    await_requeued(slurm, task)
    assert await_end(slurm, merging) == ["COMPLETED"]
    assert states(slurm, array)[task] == ["COMPLETED", "n2"]
    assert_as_by_one_run(folder, alone)
    whole, images = report(folder)
    old, new = sorted(run for run in whole["runs"] if whole["runs"][run]["shard"][0] == task[-1])
    assert new in {record["run"] for record in images.values()}
    of_old = max(name for name, record in images.items() if record["run"] == old)
    assert (of_old >= "10") == (lose is Cluster.lose_daemons)  # it went on beside the new one


@pytest.mark.skipif(
    bool(snakemake_command.why_not("slurm")), reason=snakemake_command.why_not("slurm")
)
def test_snakemake_on_slurm_makes_what_one_run_makes_also_when_a_node_is_lost(slurm, folder, alone):
    quick = "--slurm-init-seconds-before-status-checks", "2"

    def on_first():
        return [name for name, state in states(slurm).items() if state == ["RUNNING", "n1"]]

    with ThreadPoolExecutor() as pool:
        run = pool.submit(snakemake, folder, "slurm", *quick, environment=slurm.environment)
        wait_for(on_first)
        (job,) = on_first()
        slurm.lose("n1")
        await_requeued(slurm, job)
        status, told = run.result()
    assert status == 0 and "Error" not in told, told
    assert list(states(slurm).values()) == [["COMPLETED", "n2"]] * 5
    assert_as_by_one_run(folder, alone)
