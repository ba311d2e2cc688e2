"""Each failure of the system is told by what it is, with what helps."""

import errno
import os
from pathlib import Path

import pytest

from app.files.atomic import atomic_write
from app.running.remedies import explain
from tests.app.command_line import IMAGE, label, run_in, write

SOURCE, TARGET = Path("in/a.png"), Path("out/a_label.tiff")


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "No space left on device); free some space"),
        (errno.EDQUOT, "free some of your quota"),
        (errno.ENAMETOOLONG, "shorten the name"),
        (errno.EACCES, f"make it accessible to user {os.getuid()}"),
        (errno.EROFS, "not read-only"),
        (errno.ENOENT, "moved or removed meanwhile"),
        (errno.EIO, "check the disk"),
        (errno.EINVAL, "check the file and its folder"),
    ],
)
def test_the_remedy_fits_the_reason(code, remedy):
    error = OSError(code, os.strerror(code), str(TARGET))
    told = explain(error, SOURCE, TARGET)
    assert told.startswith(f"in/a.png: {TARGET} can't be written (") and remedy in told
    other = explain(OSError(code, os.strerror(code), str(SOURCE)), SOURCE, TARGET)
    assert other.startswith("in/a.png: can't be read (") and remedy in other


def test_an_error_without_a_number_is_told_all_the_same():
    assert "(odd); check the file" in explain(OSError("odd"), SOURCE, TARGET)


def test_an_image_that_vanishes_is_no_full_disk(three, capsys, strike):
    strike("b.png", FileNotFoundError(errno.ENOENT, "gone", str(three / "in" / "b.png")))
    assert run_in(three) == 1
    assert "b.png: can't be read (gone); it was moved or removed" in capsys.readouterr().err


def test_names_as_long_as_the_file_system_allows(folder, capsys):
    longest = "x" * (255 - len("_label.tiff"))
    write(folder / "in" / f"{longest}.png", IMAGE)
    assert run_in(folder) == 0 and label(folder, longest).max() == 2
    write(folder / "in" / f"{longest}y.png", IMAGE)
    assert run_in(folder) == 1
    assert "(File name too long); shorten the name" in capsys.readouterr().err


def test_a_scratch_file_is_hidden_and_beside(tmp_path):
    for name in ("a.tiff", "ü" * 120 + ".tiff"):
        with atomic_write(tmp_path / name) as part:
            assert part.parent == tmp_path and part.name.startswith(".")
            part.write_text("x")
        assert [p.name for p in tmp_path.iterdir()] == [name]
        (tmp_path / name).unlink()
