"""Shards of a run: each image in one of them, together what one run makes, and nothing unsaid."""

import argparse
import errno
import json
import os
import threading
from pathlib import Path

import pytest

from app.running.image_list import Listed, await_list, divide, read_list, write_list
from app.running.journal import RUNS_FOLDER
from app.running.merge import merge
from app.running.options import parse, parse_merge
from app.running.shard_number import SHARDS_FOLDER, ShardNumber, name_run, shard_number
from app.running.shards import instruction_sets
from app.running.supervise import blame_image
from tests.app.command_line import labels, outputs, picture, report, run, run_in, write

OF_A_RUN = ("run", "time", "seconds", "peak_memory")  # what differs from run to run
COUNT = 12


@pytest.fixture
def dozen(folder):
    """With images of four kinds and sizes in its folder ``in``."""
    for n in range(COUNT):
        write(folder / "in" / f"{n:02}.{'tif' if n % 3 else 'png'}", picture(100 + 10 * n))
    return folder


def shard(folder, text, *more) -> int:
    return run_in(folder, "--shard", text, *more)


def merged(folder) -> int:
    return merge(parse_merge([str(folder / "out")]))


def images(folder) -> list[dict]:
    """Of run.json, without what differs from run to run."""
    found = report(folder)[0]["images"]
    return [{key: r[key] for key in r if key not in OF_A_RUN} for r in found]


def shards_folder(folder) -> Path:
    return folder / "out" / SHARDS_FOLDER


# --shard


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


# Shards and one run


@pytest.mark.parametrize("count", [1, 5, 16])
def test_together_they_make_what_one_run_makes(count, dozen, tmp_path, capsys):
    (dozen / "in" / "broken.png").write_text("no image")
    assert run_in(dozen) == 1
    whole, wanted, alone = report(dozen)[0], images(dozen), labels(dozen)
    (dozen / "out").rename(tmp_path / "alone")
    statuses = [shard(dozen, f"{n}/{count}") for n in reversed(range(count))]
    assert sorted(statuses) == [0] * (count - 1) + [1]
    told = capsys.readouterr().err
    assert f"shard {count - 1}/{count}: " in told
    assert labels(dozen) == alone and not (dozen / "out" / "run.json").exists()
    assert merged(dozen) == 1
    told = capsys.readouterr().err
    assert "broken.png" in told and "12 of 13 images done" in told and "1 failed" in told
    assert images(dozen) == wanted and labels(dozen) == alone
    one = report(dozen)[0]
    assert one.keys() == whole.keys()
    same = one.keys() - {"runs", "images", "commit"}
    assert {key: one[key] for key in same} == {key: whole[key] for key in same}
    assert len(one["runs"]) == count
    assert {about["shard"] for about in one["runs"].values()} == {
        f"{n}/{count}" for n in range(count)
    }


def test_when_all_is_done_the_shards_leave_nothing_and_a_plain_run_goes_on(three, capsys):
    assert shard(three, "0/2") == shard(three, "1/2") == 0
    assert merged(three) == 0
    assert outputs(three / "out") == ["a_label.tiff", "b_label.tiff", "c_label.tiff", "run.json"]
    assert merged(three) == 0
    assert "merged already" in capsys.readouterr().err
    assert run_in(three, "--resume") == 0
    assert "3 settled already" in capsys.readouterr().err


def test_a_task_that_comes_when_all_is_merged_costs_nothing(three, capsys):
    assert shard(three, "0/2") == shard(three, "1/2") == merged(three) == 0
    wanted = images(three)
    capsys.readouterr()
    assert shard(three, "1/2", "--resume") == 0
    assert "settled already" in capsys.readouterr().err
    assert merged(three) == 0 and images(three) == wanted
    assert len(report(three)[0]["runs"]) == 3 and "warning" not in capsys.readouterr().err


def test_a_shard_without_images_is_done(three, capsys):
    assert shard(three, "5/6") == 0
    assert "shard 5/6: 0 of 0 images done" in capsys.readouterr().err


def test_merging_says_what_is_missing_and_goes_on(three, capsys):
    assert shard(three, "0/3") == 0
    capsys.readouterr()
    assert merged(three) == 1
    told = capsys.readouterr().err
    assert "error: shard 1/3: 1 of 1 image missing: b.png; start it again with --resume" in told
    assert "shard 2/3: 1 of 1 image missing: c.png" in told and "shard 0/3" not in told
    assert "1 of 3 images done" in told and "2 missing" in told
    whole, found = report(three)
    assert whole["missing"] == ["b.png", "c.png"] and list(found) == ["a.png"]
    assert shard(three, "1/3", "--resume") == shard(three, "2/3") == merged(three) == 0
    assert "missing" not in report(three)[0] and len(report(three)[1]) == 3


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (Path.unlink, "a_label.tiff is gone"),
        (lambda path: path.write_bytes(b"half"), "a_label.tiff was changed since it was made"),
    ],
)
def test_a_label_image_that_is_not_what_was_made_is_missing(spoil, wanted, three, capsys):
    assert shard(three, "0/1") == 0
    before = labels(three)
    spoil(three / "out" / "a_label.tiff")
    assert merged(three) == 1 and report(three)[0]["missing"] == ["a.png"]
    assert wanted in capsys.readouterr().err
    assert shard(three, "0/1", "--resume") == 0
    assert "2 settled already" in capsys.readouterr().err
    assert merged(three) == 0 and labels(three) == before


def test_what_failed_is_tried_again_by_its_shard(three, capsys):
    (three / "in" / "b.png").write_text("copied badly")
    assert sorted(shard(three, f"{n}/2") for n in range(2)) == [0, 1]
    assert merged(three) == 1 and shards_folder(three).exists()
    write(three / "in" / "b.png", picture(101))
    assert shard(three, "0/2", "--resume") == shard(three, "1/2", "--resume") == 0
    capsys.readouterr()
    assert merged(three) == 0 and report(three)[0]["done"] == 3
    assert "not the files any more that were listed (their sizes differ): b.png" in (
        capsys.readouterr().err
    )


def test_without_resume_a_shard_does_its_own_images_anew(three):
    assert shard(three, "0/2") == shard(three, "1/2") == 0
    made = {p.name: p.stat().st_mtime_ns for p in (three / "out").glob("*_label.tiff")}
    assert shard(three, "1/2") == 0
    again = {p.name for p in (three / "out").glob("*_label.tiff")} - {
        p.name for p in (three / "out").glob("*_label.tiff") if p.stat().st_mtime_ns == made[p.name]
    }
    assert len(again) == 1 and merged(three) == 0


# The list


def test_the_list_is_that_of_the_first_task(three, capsys):
    assert shard(three, "0/3") == 0
    write(three / "in" / "new.png")
    (three / "in" / "b.png").unlink()
    capsys.readouterr()
    assert [shard(three, "1/3"), shard(three, "2/3")] == [1, 0]
    assert "b.png" in capsys.readouterr().err
    assert merged(three) == 1
    told = capsys.readouterr().err
    assert "b.png" in told and "1 image came after the list was made" in told
    assert "no shard has them: new.png" in told
    assert list(report(three)[1]) == ["a.png", "b.png", "c.png"]


@pytest.mark.parametrize(
    ("more", "wanted"),
    [
        (["--shard", "0/3"], "divided among 2 shards, not 3; give --shard I/2"),
        (["--shard", "1/2", "--stack", "max"], "than this one (stack); give the same"),
        (["--shard", "1/2", "--recursive"], "than this one (recursive); give the same"),
        ([], "its images are divided among shards; merge these first"),
    ],
)
def test_what_does_not_go_with_the_list_is_refused(more, wanted, three, capsys):
    assert shard(three, "0/2") == 0
    capsys.readouterr()
    assert run_in(three, *more) == 2
    told = capsys.readouterr().err
    assert wanted in told and told.count("\n") == 1 and str(shards_folder(three)) in told


def test_other_weights_are_refused(three, tmp_path, capsys):
    assert shard(three, "0/2") == 0
    for path in Path("tests/app/toy_weights").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((tmp_path / "settings.json").read_text())
    settings["detector"]["cpu"]["trained"] = "elsewhere"
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    assert shard(three, "1/2", "--weights", tmp_path) == 2
    assert "than this one (weights)" in capsys.readouterr().err


def test_wrong_usage_of_the_first_task_leaves_no_list(three):
    assert shard(three, "0/2", "--boxes", three / "none.csv") == 2
    assert shard(three, "0/2") == 0


def test_images_may_lie_elsewhere_which_is_said(three, capsys):
    assert shard(three, "0/2") == 0
    (three / "in").rename(three / "moved")
    assert shard(three, "1/2") == 2 and "no such file or folder" in capsys.readouterr().err
    assert run(three / "moved", three / "out", "--shard", "1/2") == 0
    assert f"were listed in {three / 'in'}, and are read from" in capsys.readouterr().err
    assert merged(three) == 0


def test_clashing_names_fail_in_the_shard_that_has_them(three, capsys):
    write(three / "in" / "a.tif")
    statuses = {n: shard(three, f"{n}/4") for n in range(4)}
    assert sorted(statuses.values()) == [0, 0, 1, 1]
    assert capsys.readouterr().err.count("would both be written to a_label.tiff") == 2
    assert merged(three) == 1 and report(three)[0]["failed"] == 2


def test_what_can_not_be_read_is_told_by_one_shard_and_in_the_end(three, monkeypatch, capsys):
    real = os.DirEntry

    def reason(entry, path):
        assert isinstance(entry, real)
        if path.name == "b.png":
            raise PermissionError(errno.EACCES, "Permission denied")
        return "PNG"

    monkeypatch.setattr("app.files.folder._reason", reason)
    assert [shard(three, f"{n}/2") for n in (1, 0)] == [0, 1]
    capsys.readouterr()
    assert merged(three) == 1 and "b.png: can't be read" in capsys.readouterr().err


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


# Runs, tasks and merging at the same time


def test_every_line_of_a_journal_names_run_and_shard(three, strike):
    strike("a.png", KeyboardInterrupt())
    seen = []
    from app.running import journal

    real = journal.append_line

    def append(path, line):
        seen.append((path, line))
        real(path, line)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("app.running.journal.append_line", append)
        patch.setattr("app.running.sharing.append_line", append)
        assert shard(three, "0/1") == 130
    assert {path.parent for path, _ in seen} == {shards_folder(three) / "0" / RUNS_FOLDER}
    assert all(line["run"].endswith("-shard0of1") for _, line in seen) and len(seen) > 1


def test_a_crash_is_blamed_on_an_image_of_the_shard(three):
    assert shard(three, "0/1") == 0
    name = name_run(ShardNumber(0, 1))
    runs = shards_folder(three) / "0" / RUNS_FOLDER
    runs.mkdir()
    line = {"run": name, "image": "a.png", "status": "started"}
    (runs / f"{name}.jsonl").write_text(json.dumps(line) + "\n")
    assert blame_image(shards_folder(three) / "0", name, "SIGSEGV")
    assert merged(three) == 1
    assert "SIGSEGV" in report(three)[1]["a.png"]["error"]


def test_shards_and_runs_keep_out_of_each_others_way(three, monkeypatch, capsys):
    runs = three / "out" / RUNS_FOLDER
    runs.mkdir(parents=True)
    (runs / "x.lease").write_text("{}")
    monkeypatch.setattr("app.running.shards.is_alive", lambda path, _now: path.stem == "x")
    assert shard(three, "0/2") == 2
    assert "a run without --shard is at work in this folder" in capsys.readouterr().err


def test_merging_takes_nothing_from_a_shard_at_work(three, monkeypatch, capsys):
    assert shard(three, "0/1") == 0
    lease = shards_folder(three) / "0" / RUNS_FOLDER / "x.lease"
    lease.parent.mkdir()
    lease.write_text("{}")
    alive = {"x"}
    monkeypatch.setattr("app.running.shards.is_alive", lambda path, _now: path.stem in alive)
    assert merged(three) == 0 and "still at work" in capsys.readouterr().err
    assert lease.exists()
    alive.clear()
    assert merged(three) == 0 and not shards_folder(three).exists()


# What merging warns of, and what it makes


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"provider": "CUDAExecutionProvider"}, "differ in provider"),
        ({"libraries": {"onnxruntime": "0.9"}}, "differ in onnxruntime"),
        ({"instructions": ["avx2"]}, "differ in instruction sets"),
        ({"graphs": [{"file": "other.onnx"}]}, "differ in graphs"),
    ],
)
def test_shards_that_ran_on_other_things_are_warned_of(change, wanted, three, capsys):
    assert shard(three, "0/2") == shard(three, "1/2") == 0
    path = shards_folder(three) / "1" / "run.json"
    whole = json.loads(path.read_text())
    (about,) = whole["runs"].values()
    about |= change
    path.write_text(json.dumps(whole))
    capsys.readouterr()
    assert merged(three) == 0
    told = capsys.readouterr().err
    assert f"warning: shards {wanted}, so label images may differ a little" in told
    assert told.count("warning") == 1 and "(0/2)" in told and "(1/2)" in told
    graphs = [graph["file"] for graph in report(three)[0]["graphs"]]
    assert ("other.onnx" in graphs) == ("graphs" in change)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (
            "processor\t: 0\nflags\t\t: fpu avx2 sse4_2 ht amx_int8\n",
            ["amx_int8", "avx2", "sse4_2"],
        ),
        ("processor\t: 0\nFeatures\t: fp asimd evtstrm\n", ["asimd"]),
        ("", []),
    ],
)
def test_the_instruction_sets_are_those_of_the_processor(text, known, tmp_path):
    (tmp_path / "cpuinfo").write_text(text)
    assert instruction_sets(tmp_path / "cpuinfo") == known


def test_alike_shards_are_merged_without_a_warning(three, capsys):
    assert shard(three, "0/2") == shard(three, "1/2") == 0
    capsys.readouterr()
    assert merged(three) == 0 and "warning" not in capsys.readouterr().err


def test_there_is_one_report(three, capsys):
    for n in range(2):
        assert shard(three, f"{n}/2", "--results", "report") == 0
    assert not (three / "out" / "report.html").exists()
    assert merged(three) == 0
    assert "report.html" in capsys.readouterr().err
    assert (three / "out" / "report.html").read_text().count("c.png") > 0


def test_merging_what_holds_no_shards_is_refused(three, capsys):
    assert merged(three) == 2 and run_in(three) == 0 and merged(three) == 2
    assert capsys.readouterr().err.count("no shards in this folder") == 2
