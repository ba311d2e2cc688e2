"""What all commands of training/ have in common: their help, and how they report bad input."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from app.files.arrays import ImageError
from app.session import DeviceError
from app.settings import SettingsError
from training.errors import InputError


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser whose help shows a module's docstring as it is written."""
    return argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )


@contextmanager
def user_errors(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End the command with one line and status 2 where its input is wrong.

    Any other error is a fault of ours and keeps its traceback.
    """
    try:
        yield
    except OSError as error:
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        parser.exit(2, f"{parser.prog}: error: {what}\n")
    except (InputError, SettingsError, ImageError, DeviceError) as error:
        parser.exit(2, f"{parser.prog}: error: {error}\n")
