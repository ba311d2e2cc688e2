"""Shards of a run: each image in one of them, together what one run makes, and nothing unsaid."""

import errno
import json
import os
from pathlib import Path

import pytest

from app.running.journal import RUNS_FOLDER
from app.running.shard_number import ShardNumber, name_run
from app.running.supervise import blame_image
from tests.app.command_line import labels, outputs, picture, report, run, run_in, write
from tests.app.shard_runs import images, merged, shard, shards_folder

COUNT = 12


@pytest.fixture
def dozen(folder):
    """With images of four kinds and sizes in its folder ``in``."""
    for n in range(COUNT):
        write(folder / "in" / f"{n:02}.{'tif' if n % 3 else 'png'}", picture(100 + 10 * n))
    return folder


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
