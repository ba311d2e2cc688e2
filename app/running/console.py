"""What is told on standard error: never worth an image, whatever has become of the terminal."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from typing import Any

from ..stopwatch import Progress

# Of names, which may hold any character: what would begin a line, move the cursor, change colours
# or the direction of writing.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

_FEW = 4  # windows, or planes: an image of no more has no bar of its own
_NAME_WIDTH = 40  # of that bar, characters; what is counted must fit beside it


def open_streams() -> None:
    """Give standard output and error that were closed (``2>&-``) a place where nothing is kept."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def say(text: str) -> None:
    """A line on standard error; what it can't show is escaped, and a closed pipe is no error."""
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    shown = _CONTROL.sub(_escaped, text).encode(encoding, "backslashreplace").decode(encoding)
    with contextlib.suppress(OSError, ValueError):
        if "tqdm" in sys.modules:  # a bar may be in the way
            from tqdm import tqdm

            tqdm.write(shown, file=sys.stderr)
        else:
            sys.stderr.write(f"{shown}\n")


def counted(number: int, noun: str) -> str:
    """A number of things; ``noun`` is the word for one of them."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


@contextlib.contextmanager
def progress(total: int, done: int) -> Iterator["Bar"]:
    """A bar of images on a terminal.

    Args:
        total: images in all.
        done: how many of them are settled already.
    """
    bar = Bar(total, done)
    try:
        yield bar
    finally:
        bar.close()


class Bar:
    """The images that are settled, as a bar; none where standard error is no terminal."""

    def __init__(self, total: int, done: int) -> None:
        self.bar: Any = None
        with contextlib.suppress(OSError, ValueError):
            if sys.stderr.isatty():
                from tqdm import tqdm  # only here, since it takes a while

                self.bar = tqdm(total=total, initial=done, unit="image")
        self.below: Any = None  # a bar of the large image that is at work

    def advance(self) -> None:
        """One more image is settled."""
        self._close_below()
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self.bar.update()

    def close(self) -> None:
        self._close_below()
        if self.bar is not None:
            with contextlib.suppress(OSError, ValueError):
                self.bar.close()

    def inside(self, name: str) -> Progress:
        """What takes how far an image is that is at work alone; a large one has a bar of its own.

        Args:
            name: of the image.
        """
        shown = _CONTROL.sub(_escaped, name)
        if len(shown) > _NAME_WIDTH:
            shown = shown[: _NAME_WIDTH - 3] + "..."

        def tell(what: str, done: int, total: int) -> None:
            large = self.below is not None or (what != "cells" and total > _FEW)
            with contextlib.suppress(OSError, ValueError):
                if large and not done:
                    self._begin_below(f"{shown}: {what}", total)
                elif self.below is not None:
                    self.below.update(done - self.below.n)

        return tell

    def _begin_below(self, title: str, total: int) -> None:
        self._close_below()
        if self.bar is not None:
            from tqdm import tqdm

            self.below = tqdm(
                desc=title,
                total=total,
                bar_format="{desc} {n_fmt}/{total_fmt} [{elapsed}<{remaining}]",
                miniters=1,  # steps take long, and are of unlike size
                leave=False,
            )

    def _close_below(self) -> None:
        below, self.below = self.below, None
        if below is not None:
            with contextlib.suppress(OSError, ValueError):
                below.close()


def clear_bars() -> None:
    """Wipe from the terminal what a process that was killed has left of its bars."""
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr.isatty():
            sys.stderr.write("\r\x1b[J")
            sys.stderr.flush()


def flush() -> None:
    """Write out what is waiting; where nobody reads it, nothing is left to fail later."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            # Python would flush again when it ends, and make the failure its exit status.
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode()
