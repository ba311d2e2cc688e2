"""What is told on standard error: never worth an image, whatever has become of the terminal."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

# Of names, which may hold any byte: what would move the cursor, or change colours.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def open_streams() -> None:
    """Give standard output and error that were closed (``2>&-``) a place where nothing is kept."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115, PTH123


def say(text: str) -> None:
    """A line on standard error; what it can't show is escaped, and a closed pipe is no error."""
    lines = "\n".join(_CONTROL.sub(_escaped, line) for line in text.split("\n"))
    encoding = getattr(sys.stderr, "encoding", None) or "utf-8"
    from tqdm import tqdm  # takes a tenth of a second, which --help need not wait for

    with contextlib.suppress(OSError, ValueError):
        tqdm.write(lines.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


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
        with contextlib.suppress(OSError, ValueError):
            bar.bar.close()


class Bar:
    """The images that are settled, as a bar; none where standard error is no terminal."""

    def __init__(self, total: int, done: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, initial=done, unit="image", disable=None)

    def advance(self) -> None:
        """One more image is settled."""
        with contextlib.suppress(OSError, ValueError):
            self.bar.update()


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
