"""What all commands of training/ have in common: their help, and how they report bad input."""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from app.files.arrays import ImageError
from app.session import DeviceError
from app.settings import SettingsError
from training.errors import InputError


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, as of all that a user did wrong."""
        self.exit(2, f"{self.prog}: error: {message}; --help explains\n")


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is written."""
    return _Parser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)


def from_1(text: str) -> int:
    """The type of an argument that counts something."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: a whole number from 1 on was wanted")
    return int(text)


@contextmanager
def user_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the command with one line and status 2 where its input is wrong.

    Any other error is a fault of ours and keeps its traceback. An interrupt (Ctrl-C) ends it with
    one line and status 130.
    """
    # Of a broken file tifffile says more, on lines of its own.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        parser.exit(2, f"{parser.prog}: error: {what}\n")
    except (InputError, SettingsError, ImageError, DeviceError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
    except KeyboardInterrupt:
        parser.exit(130, f"{parser.prog}: interrupted\n")
