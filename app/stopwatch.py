"""Where the time of an image goes, and how far it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Is told what is counted ("windows", then "cells"; of a stack "planes"), how many are done, and of
# how many; each begins with none done.
Progress = Callable[[str, int, int], None]


def untold(_what: str, _done: int, _total: int) -> None:
    """The progress that nobody wants to know."""


class Stopwatch:
    """Seconds by stage, in ``seconds``.

    Args:
        progress: is told how far the image is.
    """

    def __init__(self, progress: Progress = untold) -> None:
        self.seconds: dict[str, float] = {}
        self.progress = progress

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of a ``with`` block to a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - started
            self.seconds[stage] = self.seconds.get(stage, 0.0) + passed
