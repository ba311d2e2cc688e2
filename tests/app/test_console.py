"""What is told on the terminal decides over nothing, and its reader sees what is there."""

import io
import subprocess
import sys

import pytest

from app.running.console import say
from tests.app.command_line import arguments, labels


def test_control_characters_are_shown_not_obeyed(capsys):
    say("error: a\x1b[2Jb\tc\x7f\u0085d\nerror: ü\u202egpj.png")
    told = capsys.readouterr().err
    assert told == "error: a\\x1b[2Jb\\tc\\x7f\\x85d\\nerror: ü\\u202egpj.png\n"


def test_a_name_that_no_encoding_knows_is_told(capsys):
    say("error: \udcff.png")
    assert capsys.readouterr().err == "error: \\udcff.png\n"


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("closed")])
def test_a_stream_that_is_gone_is_no_error(error, monkeypatch):
    class Gone(io.StringIO):
        def write(self, _text):
            raise error

    monkeypatch.setattr(sys, "stderr", Gone())
    say("error: nobody reads this")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "2>&1 | true", ">/dev/full 2>&1"])
def test_closed_and_broken_streams_cost_no_work(closed, three):
    command = [sys.executable, "-m", "app", *arguments(three / "in", three / "out")]
    text = " ".join(map(str, command)) + " " + closed
    done = subprocess.run(["bash", "-o", "pipefail", "-c", text], capture_output=True, text=True)
    assert done.returncode == 0 and "Error" not in done.stderr
    assert len(labels(three)) == 3
