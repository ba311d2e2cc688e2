"""What a run tells of itself, and how the next one goes on from it."""

import json
import os
import signal

import numpy as np
import pytest
import tifffile

from app.running.journal import RUNS_FOLDER
from app.running.sharing import Share
from tests.app.command_line import TOY, labels, picture, report, run, run_in, write


def test_the_report_says_it_all(three):
    (three / "in" / "d.png").write_text("no image")
    planes = np.stack([picture(100).astype(np.uint16)] * 3)
    tifffile.imwrite(three / "in" / "e.tif", planes, photometric="minisblack")
    assert run_in(three) == 1
    whole, images = report(three)
    assert (whole["done"], whole["failed"]) == (4, 1)
    (about,) = whole["runs"].values()
    assert about["provider"] == "CPUExecutionProvider" and whole["stack"] == "refuse"
    assert {record["run"] for record in images.values()} == set(whole["runs"])
    settings = json.loads((TOY / "settings.json").read_text())
    assert whole["method"] == settings["method"]
    assert whole["graphs"] == [settings[role]["cpu"] for role in ("detector", "segmenter")]
    a = images["a.png"]
    assert (a["height"], a["width"], a["channels"], a["dtype"]) == (48, 56, 1, "uint8")
    assert a["instances"] == tifffile.imread(three / "out" / "a_label.tiff").max()
    assert a["seconds"].keys() == {"read", "survey", "look", "detect", "segment", "write"}
    assert 10e6 < a["peak_memory"] < 4e9 and a["warnings"] == []
    assert images["d.png"]["status"] == "failed" and "d.png" in images["d.png"]["error"]
    assert images["e.tif"]["channels"] == 3
    assert "not named" in images["e.tif"]["warnings"][0]
    assert whole["channels"] is whole["percentiles"] is whole["diameter"] is None
    assert not (three / "out" / RUNS_FOLDER).exists()


def test_resume_does_only_what_is_missing_changed_or_broken(three, capsys):
    assert run_in(three) == 0
    before = labels(three)
    made = {p.name: p.stat().st_mtime_ns for p in (three / "out").glob("*_label.tiff")}
    assert run_in(three, "--resume") == 0
    assert "3 settled already" in capsys.readouterr().err
    assert report(three)[0]["done"] == 3
    (three / "out" / "a_label.tiff").write_bytes(before["a_label.tiff"][:-7])  # broken
    (three / "out" / "b_label.tiff").unlink()
    assert run_in(three, "--resume") == 0
    assert "1 settled already" in capsys.readouterr().err
    assert labels(three) == before
    assert (three / "out" / "c_label.tiff").stat().st_mtime_ns == made["c_label.tiff"]
    write(three / "in" / "c.png", np.zeros((9, 9), np.uint8))  # another image
    assert run_in(three, "--resume") == 0
    assert tifffile.imread(three / "out" / "c_label.tiff").shape == (9, 9)


def test_a_resume_that_is_interrupted_at_once_forgets_nothing(three, capsys, monkeypatch):
    assert run_in(three) == 0

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("app.running.run.find_settled", interrupted)
        run_in(three, "--resume")
    monkeypatch.setattr("app.running.sharing.is_alive", lambda *_: False)  # it is this process
    assert run_in(three, "--resume") == 0
    assert "3 settled already" in capsys.readouterr().err


def test_resume_with_fewer_images_keeps_what_is_known_of_the_others(three):
    assert run_in(three) == 0
    before = report(three)
    assert run(three / "in" / "b.png", three / "out", "--resume") == 0
    whole, images = report(three)
    assert images == before[1] and whole["done"] == 3
    assert set(before[0]["runs"]) < set(whole["runs"])


def test_an_interrupt_at_the_very_end_costs_nothing(three, monkeypatch):
    real = Share.leave

    def leave(share, header):
        os.kill(os.getpid(), signal.SIGINT)
        real(share, header)

    monkeypatch.setattr(Share, "leave", leave)
    assert run_in(three) == 0 and report(three)[0]["done"] == 3


@pytest.mark.parametrize(
    "text",
    ['{"images": [{"image": 3, "status": "done"}, {"status": "done"}, 7]}', "[" * 10**5, "[]", "3"],
)
def test_a_run_json_that_was_edited_is_no_hindrance(text, three):
    (three / "out").mkdir()
    (three / "out" / "run.json").write_text(text)
    assert run_in(three, "--resume") == 0 and report(three)[0]["done"] == 3


def test_resume_with_other_options_starts_over(three, capsys):
    assert run_in(three) == 0
    assert run_in(three, "--resume", "--stack", "max") == 0
    assert "settled" not in capsys.readouterr().err


def test_without_resume_all_is_done_again(three, capsys):
    assert run_in(three) == run_in(three) == 0
    assert "settled" not in capsys.readouterr().err


def test_resume_tries_what_failed_again(three):
    (three / "in" / "b.png").write_text("copied badly")
    assert run_in(three) == 1
    write(three / "in" / "b.png", picture(101))
    assert run_in(three, "--resume") == 0
