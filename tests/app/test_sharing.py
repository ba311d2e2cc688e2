"""Several runs in one output folder: each image is made once, none is lost with a run."""

import errno
import json
import os
import shutil
import threading
import time
from pathlib import Path

import pytest

from app.running.claims import claim_path
from app.running.journal import DONE, FAILED, STARTED, identity, new_run, read_records
from app.running.plan import Job, UsageError
from app.running.sharing import Share, TakenError
from tests.app.crashing import dead_runs

SOURCE, OTHER = __file__, os.__file__  # two files that differ


@pytest.fixture
def join(tmp_path, monkeypatch):
    """Join the folder as a run of this very process; ``dead`` names runs that count as dead."""
    dead = dead_runs(monkeypatch)

    def one(config="x", *, resume=False, restarted=False, name=None):
        name = name or new_run()
        return Share(tmp_path, name, os.getpid(), config, {"threads": 1}, resume, restarted)

    one.folder, one.dead = tmp_path, dead
    return one


def job(name, source=SOURCE, label=None) -> Job:
    label = label or f"{name}_label.tiff"
    return Job(Path(source), name, Path("out") / label, label)


def done(share, name, source=SOURCE, status=DONE) -> None:
    file = identity(Path(source))
    share.journal.append({"image": name, "file": file, "status": STARTED})
    share.journal.append({"image": name, "file": file, "status": status})


def whole(join) -> dict:
    return json.loads((join.folder / "run.json").read_text())


def test_an_image_is_claimed_by_one_run(join):
    first, second = join(), join()
    assert first.take(job("a")) and not second.take(job("a")) and first.take(job("a"))
    assert second.take(job("b")) and not first.take(job("b"))


def test_of_many_that_claim_at_once_one_gets_it(join):
    shares = [join() for _ in range(4)]
    start, won = threading.Barrier(4), []

    def claim(share):
        start.wait()
        won.extend(name for name in map(str, range(50)) if share.take(job(name)))

    threads = [threading.Thread(target=claim, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won, key=int) == [str(n) for n in range(50)]


def test_the_images_of_a_dead_run_are_taken_over_by_one(join):
    first, second, third = join(), join(), join()
    assert first.take(job("a"))
    join.dead.add(first.run)
    assert second.take(job("a")) and not third.take(job("a"))
    join.dead.add(second.run)
    assert third.take(job("a"))


def test_what_a_dead_run_has_done_is_not_done_again(join):
    first, second = join(), join()
    assert first.take(job("a")) and first.take(job("b"))
    done(first, "a")
    join.dead.add(first.run)
    assert not second.take(job("a")) and second.take(job("b"))
    assert second.records()["a"]["status"] == DONE


def test_a_label_image_is_made_of_one_image(join):
    first, second = join(), join()
    assert first.take(job("a.png", label="a_label.tiff"))
    for other, told in (
        (job("a.tif", label="a_label.tiff"), r"another image \(a\.png\)"),
        (job("a.png", OTHER, "a_label.tiff"), "another file of this name, or of this one before"),
    ):
        with pytest.raises(TakenError, match=rf"a_label\.tiff is made of {told}"):
            second.take(other)
    done(first, "a.png")
    join.dead.add(first.run)
    with pytest.raises(TakenError):  # for the label image is there
        second.take(job("a.png", OTHER, "a_label.tiff"))
    assert not second.take(job("a.png", label="a_label.tiff"))


@pytest.mark.parametrize("is_dead", [False, True])
def test_what_has_failed_or_died_leaves_its_name_to_another_image(join, is_dead):
    first, second = join(), join()
    assert first.take(job("a"))
    if is_dead:
        join.dead.add(first.run)
    else:
        done(first, "a", status=FAILED)
    assert second.take(job("a", OTHER))


def test_images_that_are_other_files_now_are_done(join):
    first, second = join(), join()
    assert first.take(job("a"))
    done(first, "a", OTHER)  # it was this, then
    join.dead.add(first.run)
    assert second.take(job("a"))


def test_a_claim_is_whole_from_its_first_moment(join, monkeypatch):
    """Whoever looks while it is made: two that claim at once have it once between them."""
    share = join()
    real, seen = os.link, []

    def link(part, path):
        seen.append((path.exists(), json.loads(part.read_text())["run"]))
        real(part, path)

    monkeypatch.setattr(os, "link", link)
    assert share.take(job("a")) and seen == [(False, share.run)]
    assert [p.name for p in share.runs.glob("claims/*.part")] == []


def test_a_file_system_without_links_will_do(join, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    first, second = join(), join()
    assert first.take(job("a")) and not second.take(job("a")) and first.take(job("a"))


def test_half_a_claim_holds_for_a_while_and_only_where_there_are_others(join):
    share = join()
    path = claim_path(share.runs / "claims", "a_label.tiff", 0)
    path.write_text("")
    assert share.take(job("a"))
    path = claim_path(share.runs / "claims", "b_label.tiff", 0)
    path.write_text('{"run": ')
    other = join()
    assert not share.take(job("b"))
    os.utime(path, (0, 0))
    assert other.take(job("b"))


def test_the_last_to_leave_tells_what_all_have_done(join):
    first, second = join(), join()
    done(first, "b")
    first.journal.append({"image": "c", "status": FAILED, "error": "broken"})
    first.leave({"version": "1"})
    assert [r["image"] for r in whole(join)["images"]] == ["b", "c"]
    assert (join.folder / ".runs").exists()
    done(second, "a")
    second.leave({"version": "1"})
    told = whole(join)
    assert [r["image"] for r in told["images"]] == ["a", "b", "c"]
    assert [r["run"] for r in told["images"]] == [second.run, first.run, first.run]
    assert (told["done"], told["failed"], told["version"]) == (2, 1, "1")
    assert set(told["runs"]) == {first.run, second.run} and told["runs"][first.run]["threads"] == 1
    assert not (join.folder / ".runs").exists()


def test_what_was_only_begun_is_not_told(join):
    share = join()
    share.journal.append({"image": "a", "status": STARTED})
    share.leave({})
    assert whole(join)["images"] == []
    share.journal.append({"image": "a", "status": DONE})  # by a thread that an interrupt left
    assert whole(join)["images"] == [] and read_records(join.folder) == {}


def test_a_run_that_comes_to_others_goes_on_with_theirs(join):
    first = join()
    done(first, "a")
    second = join()
    assert second.records()["a"]["status"] == DONE
    assert first.journal.path.exists()


def test_a_run_that_comes_alone_begins_anew(join):
    first = join()
    done(first, "a")
    first.take(job("b"))
    join.dead.add(first.run)
    (join.folder / "run.json").write_text(
        json.dumps({"images": [{"image": "z", "status": DONE, "run": "old"}]})
    )
    second = join()
    assert second.records() == {} and second.take(job("a")) and second.take(job("b"))
    assert {name: r["status"] for name, r in second.earlier.items()} == {"a": DONE, "z": DONE}
    assert not (join.folder / "run.json").exists()


def test_a_run_that_resumes_tells_of_the_earlier_ones(join):
    first = join()
    done(first, "a")
    first.leave({})
    second = join(resume=True)
    second.journal.append(second.earlier["a"])
    second.leave({})
    (record,) = whole(join)["images"]
    assert record["run"] == first.run and record["time"] < time.time()
    assert set(whole(join)["runs"]) == {first.run, second.run}


def test_what_was_done_outlives_a_run_that_resumes_and_dies(join):
    first = join()
    done(first, "a")
    first.leave({})
    for _ in range(2):  # the second finds a journal beside run.json
        share = join(resume=True)
        assert share.earlier["a"]["status"] == DONE and share.records() == {}
        join.dead.add(share.run)
    done(share, "b")
    assert set(join(resume=True).earlier) == {"a", "b"}
    assert [r["image"] for r in whole(join)["images"]] == ["a", "b"]


def test_what_a_full_disk_kept_out_of_the_journal_is_told(join, monkeypatch):
    share = join()

    def full(_path, _line):
        raise OSError("full")

    monkeypatch.setattr("app.running.journal.append_line", full)
    done(share, "a")
    assert share.records()["a"]["status"] == DONE


def test_a_restarted_run_keeps_what_it_had(join):
    first = join()
    done(first, "a")
    again = join(restarted=True, name=first.run)
    assert again.records()["a"]["status"] == DONE and again.take(job("b"))


def test_runs_with_other_options_are_kept_apart(join):
    first = join("x")
    with pytest.raises(UsageError, match=r"other options or weights .* is at work in this folder"):
        join("y")
    first.leave({})
    join("y")


def test_a_record_that_settles_counts_for_more_than_another_run_s_start(join):
    first, second = join(), join()
    done(first, "a")
    second.journal.append({"image": "a", "status": STARTED})
    assert first.records()["a"]["status"] == DONE


def test_runs_outlive_their_hidden_folder(join):
    """Which somebody clears while they are at work."""
    first = join()
    shutil.rmtree(first.runs)
    assert first.take(job("a"))
    done(first, "a")
    first.leave({})
    assert [record["image"] for record in whole(join)["images"]] == ["a"]
