"""Wrong usage of the command line: refused in a line, with status 2, before anything is written."""

import pytest

from app import __main__ as command
from app.running.options import parse
from tests.app.command_line import run, write


def test_wrong_usage_writes_nothing(folder, capsys):
    write(folder / "in" / "same.png")
    (folder / "empty").mkdir()
    (folder / "a_file").write_text("")
    cases = {
        (folder / "gone", folder / "out"): "gone: no such file or folder",
        (folder / "empty", folder / "out"): "empty: no image in this folder",
        (
            folder / "in" / "same.png",
            folder / "a_file",
        ): "a_file: is no folder; give one for the output",
        (folder / "in" / "same.png", folder / "out", "--weights", folder): "settings.json",
    }
    for arguments, message in cases.items():
        assert run(*arguments) == 2
        captured = capsys.readouterr().err
        assert message in captured and captured.startswith("error: ")
        assert not (folder / "out").exists() or not any((folder / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ([], "required: input, output"),
        (["in"], "required: output"),
        (["", "out"], "input: it is empty; a path was wanted"),
        (["in", ""], "output: it is empty; a path was wanted"),
        (["in", "out", "--threads", "0"], "1 to 1024 were wanted"),
        (["in", "out", "--threads", "100000"], "1 to 1024 were wanted"),
        (["in", "out", "--threads", "\u0662"], "1 to 1024 were wanted"),
        (["in", "out", "--threads", "2\nerror: 3"], "2\\nerror: 3: 1 to 1024"),
        (["in", "out", "--stack", "9" * 5000], "the number of a plane was wanted"),
        (["in", "out", "--min-area", "5", "--max-area", "3"], "--min-area 5 is above --max-area 3"),
        (["in", "out", "--stack", "-1"], "the number of a plane was wanted"),
        (["in", "out", "--max-memory", "0"], "a size above 0 was wanted (2GB, 500MB)"),
        (["in", "out", "--max-memory", "500B"], "a size above 0 was wanted (2GB, 500MB)"),
        (["in", "out", "--max-memory", "much"], "a size above 0 was wanted (2GB, 500MB)"),
        (["in", "out", "--time-budget", "organisers"], "unrecognized arguments"),
        (["in", "out", "--channels", "-1"], "numbers from 0 or names were wanted"),
        (["in", "out", "--channels", "0,,1"], "numbers from 0 or names were wanted"),
        (["in", "out", "--channels", ""], "numbers from 0 or names were wanted"),
        (["in", "out", "--channels", "2,0,2"], "each channel was wanted once"),
        (["in", "out", "--channels", "DAPI, dapi"], "each channel was wanted once"),
        (["in", "out", "--limits", "1"], "expected 2 arguments"),
        (["in", "out", "--limits", "1", "100.1"], "two percentiles from 0 to 100"),
        (["in", "out", "--limits", "-1", "99"], "two percentiles from 0 to 100"),
        (["in", "out", "--limits", "50", "50"], "the lower one first"),
        (["in", "out", "--limits", "nan", "50"], "two percentiles from 0 to 100"),
        (["in", "out", "--limits", "4000g", "200g"], "the lower one first"),
        (["in", "out", "--limits", "-5g", "-9g"], "--limits: -5g -9g: two percentiles"),
        (["in", "out", "--limits", "1", "200g"], "or two grey levels (200g 4000g)"),
        (["in", "out", "--limits", "0g", "infg"], "or two grey levels (200g 4000g)"),
        (["in", "out", "--limits", "lowg", "highg"], "or two grey levels (200g 4000g)"),
        (["in", "out", "--diameter", "1.9"], "pixels from 2 to 100000 were wanted"),
        (["in", "out", "--diameter", "inf"], "pixels from 2 to 100000 were wanted"),
        (["in", "out", "--diameter", "large"], "pixels from 2 to 100000 were wanted"),
        (["in", "out", "--magnification", "17"], "a factor from 0.0625 to 16 was wanted"),
        (["in", "out", "--magnification", "0"], "a factor from 0.0625 to 16 was wanted"),
        (["in", "out", "--magnification", "nan"], "a factor from 0.0625 to 16 was wanted"),
        (["in", "out", "--magnification", "2", "--diameter", "9"], "not allowed with"),
    ],
)
def test_a_wrong_command_line_ends_with_2_and_a_line(arguments, wanted, capsys):
    with pytest.raises(SystemExit) as ended:
        command.parse(arguments)
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1 and wanted in error


def test_the_last_limits_count():
    options = command.parse(["in", "out", "--limits", "1", "99", "--limits", "-.5g", "-1e-3g"])
    assert (options.percentiles, options.levels) == (None, (-0.5, -0.001))


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("2", 2e9),
        ("0.5", 5e8),
        ("2GB", 2e9),
        ("2 gb", 2e9),
        ("500M", 5e8),
        ("1TiB", 2**40),
        ("2GiB", 2**31),
    ],
)
def test_sizes_of_memory(text, size):
    assert parse(["in", "out", "--max-memory", text]).max_memory == size
