"""What the stages log as warnings, as data."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_MAX_WARNINGS = 10  # of an image; a broken file can cause thousands


@contextmanager
def warnings_collected() -> Iterator[list[str]]:
    """What the stages, and the TIFF library, log as warnings in this thread, as texts.

    Meanwhile they don't appear on the terminal, unless the process has set up logging itself.
    """
    texts: list[str] = []
    here = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, entry: logging.LogRecord) -> None:
            text = entry.getMessage()
            if entry.thread == here and text not in texts and len(texts) < _MAX_WARNINGS:
                texts.append(text)

    collector = Collector(logging.WARNING)
    loggers = [logging.getLogger(name) for name in (__name__.partition(".")[0], "tifffile")]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        yield texts
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
