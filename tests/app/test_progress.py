"""How far a large image is: told by the method, and shown on a terminal, where it costs nothing."""

import io
import os
import pty
import re
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

from app import predict as predict_module
from app.detect import detect
from app.predict import outline
from app.running.console import progress, say
from tests.app.command_line import IMAGE, arguments, labels, run_in, write
from tests.app.make_toy_graphs import METHOD
from tests.app.perfect_detectors import SMALL, paint, scatter, see

LARGE = np.full((288, 280), 20, np.uint8)  # 56 windows of the toy method
LARGE[100:148, 100:156] = IMAGE


class Terminal(io.StringIO):
    """A terminal, and what can be read on it."""

    encoding = "utf-8"

    def isatty(self):
        return True

    def screen(self) -> list[str]:
        """Its lines, as far as any was ever begun."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[A|.|\n", self.getvalue().replace("\r\n", "\n"), re.DOTALL):
            if token == "\n":
                row, column = row + 1, 0
                lines += [""] * (row == len(lines))
            elif token == "\r":
                column = 0
            elif token == "\x1b[A":
                row -= 1
            else:
                lines[row] = lines[row][:column].ljust(column) + token + lines[row][column + 1 :]
                column += 1
        return [line.rstrip() for line in lines]


def open_terminal(monkeypatch) -> Terminal:
    """In the test and not before: pytest sets standard error anew when it starts."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    return terminal


def test_each_window_and_each_block_of_cells_is_told(monkeypatch):
    monkeypatch.setattr(predict_module, "BLOCK", 64)
    label = scatter(np.random.default_rng(0), (200, 300), (8, 40), 30)
    told = []

    def tell(*entry):
        told.append(entry)

    boxes, _ = detect(paint(label), see, SMALL, progress=tell)
    assert told == [("windows", n, 12) for n in range(13)]
    told.clear()
    outline(paint(label), boxes, lambda c: [c[..., 2] / np.float32(255)], METHOD, progress=tell)
    counts = [done for what, done, total in told if (what, total) == ("cells", len(boxes))]
    assert len(counts) == len(told) > 10  # of 4 x 5 blocks, those with a part of a cell
    assert counts == sorted(counts) and counts[0] == 0 and counts[-1] == len(boxes)


def test_a_large_image_has_a_bar_below_that_goes_when_it_is_done(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress(2, 0) as bar:
        tell = bar.inside("slide.tif")
        tell("windows", 0, 77)
        assert terminal.screen()[1].startswith("slide.tif: windows 0/77 [00:0")
        time.sleep(0.15)  # more often than every tenth of a second none is drawn
        tell("windows", 7, 77)
        assert re.fullmatch(
            r"slide.tif: windows 7/77 \[\d\d:\d\d<\d\d:\d\d\]", terminal.screen()[1]
        )
        tell("cells", 0, 80000)
        assert terminal.screen()[1].startswith("slide.tif: cells 0/80000 [00:0")
        bar.advance()
        assert terminal.screen()[1] == ""
        assert terminal.screen()[0].startswith(" 50%")
    assert "2/2" not in terminal.getvalue()


def test_what_is_said_meanwhile_stands_above_both(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress(2, 0) as bar:
        bar.inside("slide.tif")("windows", 0, 77)
        say("warning: first")
        say("warning: second")
        screen = terminal.screen()
        assert screen[:2] == ["warning: first", "warning: second"]
        assert screen[2].startswith("  0%") and screen[3].startswith("slide.tif: windows 0/77")
        assert not any(screen[4:])


def test_small_images_have_no_bar(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress(2, 0) as bar:
        tell = bar.inside("small.png")
        for what, total in (("windows", 4), ("cells", 5000)):
            tell(what, 0, total)
            tell(what, total, total)
        assert not any(terminal.screen()[1:])


def test_an_interrupt_leaves_the_terminal_tidy(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with pytest.raises(KeyboardInterrupt), progress(2, 0) as bar:
        bar.inside("slide.tif")("windows", 0, 77)
        raise KeyboardInterrupt
    say("interrupted")
    screen = terminal.screen()
    assert screen[0].startswith("  0%") and screen[1:] == ["interrupted", ""]


def test_names_are_shown_escaped_and_short(monkeypatch):
    terminal = open_terminal(monkeypatch)
    with progress(2, 0) as bar:
        bar.inside("a\x1b[2J\nb.tif")("windows", 0, 77)
        assert terminal.screen()[1].startswith("a\\x1b[2J\\nb.tif: windows 0/77 [")
        bar.inside("long" * 30 + ".tif")("windows", 0, 77)
        assert (
            terminal.screen()[1].startswith("longlong") and "windows 0/77 [" in terminal.screen()[1]
        )
        assert len(terminal.screen()[1]) < 80


@pytest.mark.parametrize("error", [BrokenPipeError(), OSError(5, "gone"), ValueError("closed")])
@pytest.mark.parametrize("when", range(4))
def test_a_terminal_that_goes_costs_nothing(error, when, monkeypatch):
    terminal = open_terminal(monkeypatch)

    def gone(_text):
        raise error

    steps = [("windows", 0, 77), ("windows", 70, 77), ("cells", 0, 900), ("cells", 900, 900)]
    with progress(2, 0) as bar:
        tell = bar.inside("slide.tif")
        for n, step in enumerate(steps):
            if n == when:
                monkeypatch.setattr(terminal, "write", gone)
            tell(*step)
        bar.advance()


def test_without_a_terminal_nothing_is_told_of_the_inside(folder, capfd):
    write(folder / "in" / "slide.png", LARGE)
    assert run_in(folder) == 0
    told = capfd.readouterr().err
    assert "windows" not in told and "cells 0" not in told


@pytest.mark.parametrize("broken", [False, True])
def test_the_command_shows_it_on_a_terminal(folder, broken):
    write(folder / "in" / "slide.png", LARGE)
    write(folder / "in" / "small.png", IMAGE)
    told, status = on_a_terminal(folder, hang_up=broken)
    assert len(labels(folder)) == 2
    if not broken:
        assert status == 0
        assert "slide.png: windows 0/56 [" in told and "slide.png: cells 0/" in told
        assert "small.png: " not in told


def on_a_terminal(folder, hang_up: bool) -> tuple[str, int]:
    """What the command writes there, and its exit status; its reader may go at the first word."""
    mine, its = pty.openpty()
    termios.tcsetwinsize(its, (24, 80))
    command = [sys.executable, "-m", "app", *arguments(folder / "in", folder / "out")]
    process = subprocess.Popen(command, stdout=its, stderr=its, stdin=subprocess.DEVNULL)
    os.close(its)
    told = b""
    try:
        while more := os.read(mine, 4096):
            told += more
            if hang_up:
                break
    except OSError:  # how a terminal ends on Linux
        pass
    os.close(mine)
    return told.decode(), process.wait(60)
