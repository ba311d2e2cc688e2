"""What shards and merging tell where something is wrong, and with what status they end."""

import errno
import os
import signal
from pathlib import Path

import pytest

from app import __main__ as command
from app.files.atomic import atomic_write
from app.running.merge import merge
from app.running.options import parse_merge
from app.running.shard_number import SHARDS_FOLDER
from tests.app.command_line import (
    arguments,
    labels,
    report,
    run,
    run_in,
)
from tests.app.tiff_sets import write_set


def shard(folder, text, *more) -> int:
    return run_in(folder, "--shard", text, *more)


def merged(folder) -> int:
    return merge(parse_merge([str(folder / "out")]))


@pytest.fixture
def fail_with(monkeypatch):
    """Let no file of a name be written."""

    def on(name: str, code: int) -> None:
        def refuse(path):
            if path.name == name:
                scratch = str(path.with_name(f".{name}.x.part"))
                raise OSError(code, os.strerror(code), scratch)
            return atomic_write(path)

        for module in ("journal", "image_list", "lease"):
            monkeypatch.setattr(f"app.running.{module}.atomic_write", refuse)

    return on


# What is passed over


def test_what_is_passed_over_is_named_where_the_input_is_relative(three, monkeypatch, capsys):
    (three / "in" / "notes.txt").write_text("x")
    (three / "in" / "more").mkdir()
    (three / "in" / "nowhere").symlink_to("gone")
    weights = Path("tests/app/toy_weights").absolute()
    monkeypatch.chdir(three)
    for n in range(2):
        assert run("in", "out", "--shard", f"{n}/2", "--weights", weights) == 0
        assert ("no image: notes.txt" in capsys.readouterr().err) == (n == 0)
    assert merge(parse_merge(["out"])) == 0


def test_one_image_of_several_files_is_a_shard_of_its_own(folder, capsys):
    first, second = write_set(folder / "in")
    for n in range(2):
        assert run(first, folder / "out", "--shard", f"{n}/2") == 0
        told = capsys.readouterr().err
        assert (f"begins in another file: {second.name}" in told) == (n == 0)
    os.utime(second, (1, 1))
    for n, settled in ((0, False), (0, True)):
        assert run(first, folder / "out", "--shard", f"{n}/2", "--resume") == 0
        assert ("settled already" in capsys.readouterr().err) == settled
    assert merged(folder) == 0
    assert run(first, folder / "out", "--resume") == 0  # a run knows it by the same files
    assert "1 settled already" in capsys.readouterr().err


# Images that are gone, and that failed


def test_an_image_that_is_gone_stays_done(three, capsys):
    assert shard(three, "0/1") == 0
    before = labels(three)
    (three / "in" / "b.png").unlink()
    assert shard(three, "0/1", "--resume") == 0
    assert "3 settled already" in capsys.readouterr().err
    (three / "out" / "b_label.tiff").write_bytes(b"changed")
    assert shard(three, "0/1", "--resume") == 1
    told = capsys.readouterr().err
    assert "b.png: can't be opened (No such file" in told
    assert labels(three).keys() == before.keys()


def test_merging_tells_in_which_shard_an_image_failed(three, capsys):
    (three / "in" / "b.png").write_text("no image")
    statuses = [shard(three, f"{n}/3") for n in range(3)]
    capsys.readouterr()
    assert merged(three) == 1
    number = statuses.index(1)
    assert f"error: shard {number}/3: {three / 'in' / 'b.png'}: " in capsys.readouterr().err


# A task that comes when all is merged


def test_other_options_do_not_undo_what_is_merged(three, capsys):
    assert shard(three, "0/2") == shard(three, "1/2") == merged(three) == 0
    whole = (three / "out" / "run.json").read_text()
    capsys.readouterr()
    assert shard(three, "1/2", "--resume", "--min-score", "0.9") == 2
    told = capsys.readouterr().err
    assert "its shards are merged, and were done with other options" in told
    assert "(min_score)" in told and told.count("\n") == 1
    assert (three / "out" / "run.json").read_text() == whole
    assert not (three / "out" / SHARDS_FOLDER).exists()
    (three / "out" / "run.json").unlink()  # as the line says
    assert shard(three, "1/2", "--resume", "--min-score", "0.9") == 0


def test_to_begin_anew_both_are_removed(three, capsys):
    assert shard(three, "0/2") == 0 and merged(three) == 1
    capsys.readouterr()
    assert shard(three, "1/2", "--resume", "--stack", "max") == 2
    told = capsys.readouterr().err
    assert f"remove {three / 'out' / SHARDS_FOLDER} and {three / 'out' / 'run.json'}" in told


# What the system refuses


@pytest.mark.parametrize(
    ("code", "status", "wanted"),
    [
        (errno.ENOSPC, 3, "No space left on device); free some space"),
        (errno.EIO, 3, "connection to it, then merge again"),
        (errno.EACCES, 2, f"(Permission denied); make it accessible to user {os.getuid()}"),
    ],
)
def test_merging_names_the_folder_that_takes_no_file(
    code, status, wanted, three, fail_with, capsys
):
    assert shard(three, "0/1") == 0
    fail_with("run.json", code)
    capsys.readouterr()
    assert merged(three) == status
    told = capsys.readouterr().err
    assert f"error: {three / 'out'}: can't be read or written (" in told and wanted in told
    assert told.count("\n") == 1 and ".part" not in told


@pytest.mark.parametrize(("code", "status"), [(errno.EDQUOT, 3), (errno.EROFS, 2)])
def test_a_shard_that_can_not_begin_tells_whether_another_time_helps(
    code, status, three, fail_with, capsys
):
    fail_with("list.json", code)
    assert shard(three, "0/1") == status
    told = capsys.readouterr().err
    assert f"error: {three / 'out'}: can't be read or written (" in told and ".part" not in told


@pytest.mark.parametrize(("code", "status"), [(errno.ENOSPC, 3), (errno.EACCES, 2)])
def test_an_output_folder_on_a_full_disk_is_no_wrong_usage(
    code, status, three, monkeypatch, capsys
):
    def refuse(**_):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("app.running.plan.tempfile.TemporaryFile", refuse)
    assert shard(three, "0/1") == status
    assert f"{three / 'out'}: " in capsys.readouterr().err


@pytest.mark.parametrize(("code", "status"), [(errno.ESTALE, 3), (errno.EACCES, 1)])
def test_an_image_whose_disk_went_away_is_tried_again(code, status, three, monkeypatch):
    real = Path.open

    def lost(path, *rest, **more):
        if path.name == "b.png" and rest == ("rb",):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, *rest, **more)

    monkeypatch.setattr(Path, "open", lost)
    assert run_in(three) == status
    assert report(three)[1]["b.png"].get("try_again", False) == (status == 3)


def test_a_full_disk_ends_every_shard_with_the_same_status(three, strike, fail_with):
    strike("b.png", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    (three / "in" / "c.png").write_text("no image")
    assert run_in(three) == 3  # c.png fails again then, and ends it with 1
    _, images = report(three)
    assert images["b.png"]["try_again"] and "try_again" not in images["c.png"]
    fail_with("run.json", errno.ENOSPC)
    (three / "in" / "c.png").unlink()
    (three / "in" / "b.png").unlink()
    assert run_in(three) == 3


# What ends the process


@pytest.mark.parametrize("name", ["merge", "report"])
@pytest.mark.parametrize(
    ("number", "status", "wanted"),
    [
        (signal.SIGKILL, 3, "error: {} was ended by SIGKILL; start it again\n"),
        (signal.SIGINT, 130, "{} was interrupted; start it again\n"),
    ],
)
def test_a_command_that_is_ended_is_no_run(name, number, status, wanted, three, monkeypatch, capfd):
    def struck(_options):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(f"app.running.{name}.{name}", struck)
    assert command.main([name, str(three / "out")]) == status
    assert capfd.readouterr().err == wanted.format(name)


def test_a_shard_that_is_killed_before_any_image_is_to_be_started_again(three, monkeypatch, capfd):
    monkeypatch.setattr("app.running.run.run", lambda *_, **__: os.kill(os.getpid(), 9))
    given = arguments(three / "in", three / "out", "--shard", "0/1")
    assert command.main(given) == 3
    assert "ended by SIGKILL before any image; --resume goes on" in capfd.readouterr().err
