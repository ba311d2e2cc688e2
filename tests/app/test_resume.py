"""What a run tells of itself, and how the next one goes on from it."""

import json
import os
import shutil
import signal

import numpy as np
import pytest
import tifffile

from app.running.journal import RUNS_FOLDER, new_run
from app.running.lease import read_lease
from app.running.plan import Job
from app.running.sharing import Share
from tests.app.command_line import TOY, labels, picture, report, run, run_in, write
from tests.app.image_bytes import STACK
from tests.app.tiff_sets import write_set


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

    def leave(share, header, **more):
        os.kill(os.getpid(), signal.SIGINT)
        real(share, header, **more)

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


def test_a_label_image_that_another_takes_the_place_of_is_told(three, capsys):
    """One of an image that this run is not asked for."""
    assert run(three / "in" / "a.png", three / "out") == 0
    (three / "more").mkdir()
    write(three / "more" / "a.bmp", picture(90))
    assert run(three / "more", three / "out", "--resume") == 0
    told = capsys.readouterr().err
    assert "a_label.tiff is that of a.png; that of a.bmp takes its place" in told
    assert list(report(three)[1]) == ["a.bmp"]


def test_files_of_equal_size_and_time_are_told_apart(three):
    image = np.full((64, 64), 20, np.uint8)
    for folder, level in (("one", 220), ("two", 120)):
        (three / folder).mkdir()
        image[8:24, 8:24] = level
        tifffile.imwrite(three / folder / "a.tif", image)
        os.utime(three / folder / "a.tif", ns=(1, 1))
    assert run(three / "one", three / "out") == 0
    assert run(three / "two", three / "out", "--resume") == 0
    assert run(three / "two", three / "alone") == 0
    alone = (three / "alone" / "a_label.tiff").read_bytes()
    assert (three / "out" / "a_label.tiff").read_bytes() == alone
    assert report(three)[0]["done"] == 1


@pytest.mark.parametrize("given", ["in", "in/s_C0.ome.tif"])
def test_an_image_in_several_files_is_done_again_if_one_of_them_changed(given, folder, capsys):
    _, second = write_set(folder / "in", planes=STACK[:2], options=({}, {}))
    assert run(folder / given, folder / "out") == 0
    assert run(folder / given, folder / "out", "--resume") == 0
    assert "1 settled already" in capsys.readouterr().err
    second.write_bytes(second.read_bytes()[:-1] + b"x")
    assert run(folder / given, folder / "out", "--resume") == 0
    assert "settled" not in capsys.readouterr().err


def test_an_older_label_image_of_an_image_that_fails_is_told(three, capsys):
    assert run_in(three) == 0
    (three / "in" / "b.png").write_bytes(b"broken")
    write(three / "in" / "c.bmp", picture(90))
    assert run_in(three, "--resume") == 1
    told = capsys.readouterr().err
    assert "warning: b.png: of an earlier run: b_label.tiff" in told
    assert "would both be written to c_label.tiff (c_label.tiff is of an earlier run)" in told


def test_a_broken_run_json_is_told(three, capsys):
    assert run_in(three) == 0
    (three / "out" / "run.json").write_text("{")
    assert run_in(three, "--resume") == 0
    assert "run.json can't be read: no image counts as done by it" in capsys.readouterr().err


def test_a_count_that_was_edited_is_no_hindrance(three):
    assert run_in(three) == 0
    path = three / "out" / "run.json"
    path.write_text(path.read_text().replace('"instances": 1', '"instances": "12"'))
    assert run_in(three, "--resume") == 0


def agreed(folder) -> str:
    """What a run of these options says in its lease."""
    said = []

    def leave(share, *given, **more):
        said.extend(read_lease(path).get("config") for path in share.runs.glob("*.lease"))
        real(share, *given, **more)

    real = Share.leave
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Share, "leave", leave)
        assert run_in(folder) == 0
    shutil.rmtree(folder / "out")
    (folder / "out").mkdir()
    return said[0]


def test_a_label_image_that_goes_while_runs_are_at_work_is_missed(three, monkeypatch, capsys):
    other = Share(three / "out", new_run(), os.getpid(), agreed(three), {}, False, False)
    monkeypatch.setattr("app.running.sharing.is_alive", lambda path, _: path.exists())
    job = Job(three / "in" / "b.png", "b.png", three / "out" / "b_label.tiff", "b_label.tiff")
    assert other.take(job)
    other.journal.append({"image": "b.png", "file": job.identity(), "status": "done"})
    assert run_in(three) == 1
    assert "b_label.tiff, which another run made, is gone" in capsys.readouterr().err
    other.leave({})
