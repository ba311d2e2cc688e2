"""Shards made one run: beside others at work, of other things, alike."""

import json

import pytest

from app.running.journal import RUNS_FOLDER
from app.running.shards import instruction_sets
from tests.app.command_line import report, run_in
from tests.app.shard_runs import merged, shard, shards_folder


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
