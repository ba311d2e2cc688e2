"""The report of an output folder: at the end of a run, or of a folder from an earlier one."""

import argparse
import json
from pathlib import Path
from typing import Any

from .console import say
from .journal import RUN_FILE
from .plan import UsageError
from .remedies import exit_status, remedy
from .shard_number import SHARDS_FOLDER

_CHANGED = "is not what a run has written"


def make_report(folder: Path) -> Path | None:
    """Write the report of a folder with run.json; None, and a line that says why, if it can't be"""
    try:
        return _make_report(folder)
    except (UsageError, OSError) as error:
        _tell(folder, error)
    return None


def _make_report(folder: Path, images: Path | None = None) -> Path:
    """Write the report.

    Args:
        folder: of the outputs, with run.json.
        images: their folder, where it is not the one that run.json names.

    Raises:
        UsageError: a folder or run.json is not what was wanted.
        OSError: the report can't be written.
    """
    from ..results.report.build import write_report  # takes time, which most runs need not wait for

    if images is not None and not images.is_dir():
        raise UsageError(f"{images}: is no folder; give that of the images")
    whole = read_run(folder)
    try:
        return write_report(folder, whole, images)
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError) as error:
        raise UsageError(f"{folder / RUN_FILE}: {_CHANGED} ({error})") from error


def _tell(folder: Path, error: UsageError | OSError) -> None:
    """Say why there is no report."""
    if isinstance(error, OSError):
        what = f"the report can't be written ({error.strerror})"
        say(f"error: {folder}: {what}; {remedy(error, f'report {folder}')}")
    else:
        say(f"error: {error}")


def read_run(folder: Path) -> dict[str, Any]:
    """What run.json of an output folder holds.

    Raises:
        UsageError: there is none, or it was changed.
    """
    path = folder / RUN_FILE
    wanted = "give the output folder of a run that has ended"
    if (folder / SHARDS_FOLDER).is_dir():
        wanted = f"merge its shards first (merge {folder})"
    try:
        whole = json.loads(path.read_text())
        if isinstance(whole, dict) and all(
            isinstance(r, dict) and {"image", "status"} <= r.keys() for r in whole["images"]
        ):
            return dict(whole)
    except OSError as error:
        raise UsageError(f"{path}: can't be read ({error.strerror}); {wanted}") from error
    except (ValueError, LookupError, TypeError, RecursionError):
        pass
    raise UsageError(f"{path}: {_CHANGED}; {wanted}")


def report(options: argparse.Namespace) -> int:
    """``report OUTPUT``: returns the exit status."""
    try:
        path = _make_report(options.output, options.images)
    except (UsageError, OSError) as error:
        _tell(options.output, error)
        return exit_status(error) if isinstance(error, OSError) else 2
    say(f"see {path}")
    return 0
