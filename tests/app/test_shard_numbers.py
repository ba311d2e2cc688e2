"""Which shard a task is, and the one list of images that all of them share."""

import argparse
import threading

import pytest

from app.running.image_list import Listed, await_list, divide, read_list, write_list
from app.running.options import parse
from app.running.shard_number import SHARDS_FOLDER, ShardNumber, shard_number
from tests.app.command_line import outputs
from tests.app.shard_runs import merged, shard, shards_folder


@pytest.mark.parametrize(
    ("environment", "index"),
    [
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "5"}, 2),
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "JOB_COMPLETION_INDEX": "3"}, 0),
        ({"JOB_COMPLETION_INDEX": "3", "AWS_BATCH_JOB_ARRAY_INDEX": "1"}, 3),
        ({"AWS_BATCH_JOB_ARRAY_INDEX": "1"}, 1),
    ],
)
def test_the_task_of_an_array_is_a_shard(environment, index):
    assert shard_number("auto/4", environment) == ShardNumber(index, 4)
    assert shard_number(f"{index}/4", {}) == ShardNumber(index, 4)


@pytest.mark.parametrize(
    ("text", "environment", "wanted"),
    [
        ("4/4", {}, "4/4: 0/4 to 3/4 were wanted"),
        ("0/0", {}, "I/N or auto/N was wanted"),
        ("0/100001", {}, "0/100001: 100000 shards at most"),
        ("auto/999999999", {"JOB_COMPLETION_INDEX": "0"}, "100000 shards at most"),
        ("-1/4", {}, "I/N or auto/N was wanted"),
        ("1", {}, "I/N or auto/N was wanted"),
        ("1/auto", {}, "I/N or auto/N was wanted"),
        ("auto/auto", {}, "I/N or auto/N was wanted"),
        ("\u0661/4", {}, "I/N or auto/N was wanted"),
        ("auto/4", {}, "none of SLURM_ARRAY_TASK_ID, JOB_COMPLETION_INDEX, AWS_BATCH"),
        ("auto/4", {"JOB_COMPLETION_INDEX": ""}, "JOB_COMPLETION_INDEX=: numbers"),
        ("auto/4", {"SLURM_ARRAY_TASK_ID": "3"}, "SLURM_ARRAY_TASK_MIN=: numbers"),
        (
            "auto/4",
            {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_MIN": "0"},
            "auto/4 in task 4 of the array, counted from 0: 0/4 to 3/4 were wanted",
        ),
        ("auto/4", {"SLURM_ARRAY_TASK_ID": "1", "SLURM_ARRAY_TASK_MIN": "2"}, "in task -1 of"),
    ],
)
def test_what_is_no_shard_is_refused(text, environment, wanted):
    with pytest.raises(argparse.ArgumentTypeError) as refused:
        shard_number(text, environment)
    assert wanted in str(refused.value)


def test_a_wrong_shard_ends_with_2_and_a_line(capsys):
    with pytest.raises(SystemExit) as ended:
        parse(["in", "out", "--shard", "16/16"])
    told = capsys.readouterr().err
    assert ended.value.code == 2 and told.count("\n") == 1
    assert "--shard: 16/16: 0/16 to 15/16 were wanted" in told


# How images are divided


def listed(sizes) -> list[Listed]:
    return [Listed(f"{n:03}", f"{n:03}_label.tiff", [size, 0]) for n, size in enumerate(sizes)]


def test_shards_take_about_as_long():
    sizes = [1000, 10, 10, 10, 10, 500, 490, 5, 5, 0, 0, 0]
    parts = divide(listed(sizes), 3)
    assert sorted(i.name for part in parts for i in part) == [i.name for i in listed(sizes)]
    assert [sum(sizes[int(i.name)] for i in part) for part in parts] == [1000, 520, 520]
    assert all(part == sorted(part, key=lambda i: i.name) for part in parts)
    assert divide(list(reversed(listed(sizes))), 3) == parts  # whatever order they come in
    assert [len(part) for part in divide(listed([1, 1, 1, 1, 4]), 2)] == [1, 4]
    assert [len(part) for part in divide(listed([0] * 12), 4)] == [3] * 4
    assert [len(part) for part in divide(listed([7] * 2), 4)] == [1, 1]  # the others have none


def test_one_list_is_made_however_many_tasks_come_at_once(three):
    assert shard(three, "0/2") == 0
    first = read_list(three / "out")
    output = three / "other"
    output.mkdir()
    start = threading.Barrier(8)

    def make(n):
        start.wait()
        write_list(output, type(first)(**{**vars(first), "input": str(n)}), f"run{n}")
        seen.append(read_list(output).input)

    seen: list[str] = []
    threads = [threading.Thread(target=make, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 8 and len(set(seen)) == 1
    assert outputs(output) == [SHARDS_FOLDER]


def test_a_list_that_another_machine_has_made_is_waited_for(three, monkeypatch):
    """Network file systems show it late; what is gone for good ends the task."""
    assert shard(three, "0/2") == 0
    seen = [None, None, read_list(three / "out")]
    monkeypatch.setattr("app.running.image_list._PATIENCE", 0)
    monkeypatch.setattr("app.running.image_list.read_list", lambda _: seen.pop(0) if seen else None)
    assert await_list(three / "out").count == 2
    monkeypatch.setattr("app.running.image_list._DELAY", 0)
    with pytest.raises(FileNotFoundError, match="the list is gone"):
        await_list(three / "out")


def test_a_damaged_list_is_told(three, capsys):
    assert shard(three, "0/2") == 0
    (shards_folder(three) / "list.json").write_text('{"images": [')
    assert shard(three, "1/2") == 2 and merged(three) == 2
    assert capsys.readouterr().err.count("is not what a shard has written; remove") == 2
