"""Work in a process of its own, so that no crash of it is the end of the run.

A broken file may crash a decoder, and a machine that runs out of memory kills whole processes.
The child is forked before anything large is imported, so this costs a millisecond.
"""

import contextlib
import ctypes
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

from .console import clear_bars, flush, say
from .journal import FAILED, STARTED, SUSPECT, append_line, journal_path, latest, read_lines
from .remedies import TRY_AGAIN

_INTERRUPTS = signal.SIGINT, signal.SIGTERM, signal.SIGHUP  # the last when a terminal is closed
_PR_SET_PDEATHSIG = 1  # from Linux' <sys/prctl.h>


def supervise(work: Callable[[bool], int], blame: Callable[[str], bool]) -> int:
    """Run ``work`` in a child, again after each crash.

    SIGINT, SIGTERM and SIGHUP reach the work as KeyboardInterrupt. A child outlives this process by
    nothing, even if that is killed.

    Args:
        work: takes whether an earlier child has crashed; returns the exit status.
        blame: called after a crash with its cause; false if it is no use to go on.

    Returns:
        The exit status.
    """
    crashed, parent = False, os.getpid()
    while True:
        flush()
        child = os.fork()
        if not child:
            os._exit(_work_as_child(work, crashed, parent))
        status = _wait(child)
        if os.WIFEXITED(status):
            return os.WEXITSTATUS(status)
        clear_bars()
        crashed = True
        if not blame(signal.Signals(os.WTERMSIG(status)).name):
            return TRY_AGAIN


def blame_image(folder: Path, run: str, cause: str) -> bool:
    """Record which image has crashed the process, or which may have.

    Args:
        folder: the output folder.
        run: whose process it was; images of other runs are never blamed.
        cause: the signal's name.

    Returns:
        Whether it is of use to go on: false if none was at work.
    """
    journal = journal_path(folder, run)
    records = latest(read_lines(journal)[0])
    at_work = {n: r for n, r in records.items() if r["status"] == STARTED}
    names = [name for name, record in at_work.items() if record.get("run") == run]
    if not names:
        when = "while no image was at work" if records else "before any image"
        say(f"error: the process was ended by {cause} {when}; --resume goes on")
        return False
    if len(names) > 1:
        for name in names:
            append_line(journal, {**records[name], "status": SUSPECT})
        say(f"{cause} at {' or '.join(names)}; going on one image at a time")
        return True
    hint = ", most likely for want of memory" if cause == "SIGKILL" else ""
    error = f"{names[0]}: ended the process ({cause}{hint}); the other images go on"
    settled = {"status": FAILED, "error": error, "time": time.time()}
    append_line(journal, {**records[names[0]], **settled})
    say(f"error: {error}")
    return True


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """For what is short, and must be done."""
    earlier = {number: signal.signal(number, signal.SIG_IGN) for number in _INTERRUPTS}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)


def _work_as_child(work: Callable[[bool], int], crashed: bool, parent: int) -> int:
    interrupted = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        for number in _INTERRUPTS:  # the terminal and the parent may both send it
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    try:
        for number in _INTERRUPTS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                signal.signal(number, interrupt)
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it was killed before that took hold
            return TRY_AGAIN
        return work(crashed)
    except KeyboardInterrupt:
        say("interrupted before any image was begun")
        return 130
    # Not to be raised: this is a copy of the parent, whose own work must not go on in it.
    except Exception:
        if interrupted:  # which a library that was being loaded has made another error of
            return 130
        for line in traceback.format_exc().splitlines():
            say(line)
        return TRY_AGAIN
    finally:
        flush()


def _wait(child: int) -> int:
    """Wait for the child to end, passing signals on to it."""

    def forward(number: int, _frame: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, number)

    earlier = {
        number: signal.signal(number, forward)
        for number in _INTERRUPTS
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
    }
    try:
        return os.waitpid(child, 0)[1]
    finally:
        for number, handler in earlier.items():
            signal.signal(number, handler)
