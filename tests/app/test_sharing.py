"""Several runs in one output folder: each image is made once, none is lost with a run."""

import json
import os
import threading

import pytest

from app.running.journal import DONE, FAILED, STARTED, new_run, read_records
from app.running.plan import UsageError
from app.running.sharing import Share


@pytest.fixture
def join(tmp_path, monkeypatch):
    """Join the folder as a run of this very process; ``dead`` names runs that count as dead."""
    dead: set[str] = set()

    def alive(path, _now):
        return path.exists() and path.stem not in dead

    monkeypatch.setattr("app.running.sharing.is_alive", alive)

    def one(config="x", *, resume=False, restarted=False, name=None):
        name = name or new_run()
        return Share(tmp_path, name, os.getpid(), config, {"threads": 1}, resume, restarted)

    one.folder, one.dead = tmp_path, dead
    return one


def done(share, name) -> None:
    share.journal.append({"image": name, "status": STARTED})
    share.journal.append({"image": name, "status": DONE})


def whole(join) -> dict:
    return json.loads((join.folder / "run.json").read_text())


def test_an_image_is_claimed_by_one_run(join):
    first, second = join(), join()
    assert first.take("a") and not second.take("a") and first.take("a")
    assert second.take("b") and not first.take("b")


def test_of_many_that_claim_at_once_one_gets_it(join):
    shares = [join() for _ in range(4)]
    start, won = threading.Barrier(4), []

    def claim(share):
        start.wait()
        won.extend(name for name in map(str, range(50)) if share.take(name))

    threads = [threading.Thread(target=claim, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won, key=int) == [str(n) for n in range(50)]


def test_the_images_of_a_dead_run_are_taken_over_by_one(join):
    first, second, third = join(), join(), join()
    assert first.take("a")
    join.dead.add(first.run)
    assert second.take("a") and not third.take("a")
    join.dead.add(second.run)
    assert third.take("a")


def test_what_a_dead_run_has_done_is_not_done_again(join):
    first, second = join(), join()
    assert first.take("a") and first.take("b")
    done(first, "a")
    join.dead.add(first.run)
    assert not second.take("a") and second.take("b")
    assert second.records()["a"]["status"] == DONE


def test_a_claim_without_a_name_holds_only_for_a_while(join):
    share = join()
    assert share.take("a")
    (claim,) = (join.folder / ".runs" / "claims").iterdir()
    claim.write_text("")
    assert not join().take("a")
    os.utime(claim, (0, 0))
    assert join().take("a")


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
    first.take("b")
    join.dead.add(first.run)
    (join.folder / "run.json").write_text(
        json.dumps({"images": [{"image": "z", "status": DONE, "run": "old"}]})
    )
    second = join()
    assert second.records() == {} and second.take("a") and second.take("b")
    assert {name: r["status"] for name, r in second.earlier.items()} == {"a": DONE, "z": DONE}
    assert not (join.folder / "run.json").exists()


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
    assert again.records()["a"]["status"] == DONE and again.take("b")


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
