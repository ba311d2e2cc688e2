"""The command line in a process of its own, to which something happens at an image."""

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.app.command_line import arguments

_SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from app import __main__ as command
{before}
def struck(self, source, target, *rest):
    if source.name == "b.png":
        {event}
    return real(self, source, target, *rest)
from app.running import run as runs
real = runs.Predictor.predict_file
runs.Predictor.predict_file = struck
sys.exit(command.main(sys.argv[1:]))
"""
FOR_EVER = "threading.Event().wait()"  # at work, until a signal ends it
GUARD = 120  # seconds after which a test that should have ended is given up


def start(folder: Path, event: str, *more, before: str = "") -> subprocess.Popen[str]:
    """From the folder's ``in`` to its ``out``.

    Args:
        folder: of the fixture ``three``.
        event: a line of Python that is run when b.png's turn comes.
        more: options.
        before: Python that is run before all.
    """
    given = arguments(folder / "in", folder / "out", *more)
    command = [sys.executable, "-c", _SCRIPT.format(event=event, before=before), *given]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def errors_of(process: subprocess.Popen[str]) -> str:
    """What a process says until it ends."""
    return process.communicate(timeout=GUARD)[1]


def wait_for(condition: Callable[[], object]) -> None:
    """Return once something has come true."""
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end, "nothing happened in two minutes"
        time.sleep(0.01)


def dead_runs(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of runs that count as dead from then on; more can be added."""
    dead: set[str] = set()

    def alive(path: Path, _now: float) -> bool:
        return path.exists() and path.stem not in dead

    monkeypatch.setattr("app.running.sharing.is_alive", alive)
    return dead
