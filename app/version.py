"""Which version of this package runs, from which commit, and on which libraries."""

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

__version__ = "0.1.0"

_PACKAGE = Path(__file__).parent
# One line, written where the history is left behind: in an image (Dockerfile) and a wheel
# (setup.py).
STAMP = "commit.txt"
_COMMIT = re.compile(r"[0-9a-f]{40}(-dirty)?")
_PATIENCE = 5.0  # seconds for git


def commit(package: Path = _PACKAGE) -> str | None:
    """The commit that this code is of, with "-dirty" where it was changed since; None if unknown.

    Args:
        package: the folder with the code. Its stamp is read, or git is asked where it lies in a
            checkout.
    """
    try:
        text = (package / STAMP).read_text()
    except OSError:
        text = _ask_git(package.parent)
    found = _COMMIT.fullmatch(text.strip())
    return found and found[0]


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that a result may depend on."""
    # These take a while, and most who ask for the version have them loaded already.
    import cv2
    import numpy
    import onnxruntime
    import tifffile

    return {
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "opencv": cv2.__version__,
        "tifffile": tifffile.__version__,
        "onnxruntime": str(onnxruntime.__version__),
    }


def provenance() -> dict[str, Any]:
    """What made a result: ``version``, ``commit`` and ``libraries``."""
    return {"version": __version__, "commit": commit(), "libraries": library_versions()}


def describe() -> str:
    """The same for people."""
    libraries = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    return f"vsm {__version__}, commit {commit() or 'unknown'}\n{libraries}"


def _ask_git(checkout: Path) -> str:
    """The commit of a checkout; empty where it is none, or git is not there or won't tell."""
    # Installed into someone else's repository, this must not take the commit of that.
    if not (checkout / ".git").exists():
        return ""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    # Whoever works in the checkout meanwhile must not find its index locked.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            command,
            cwd=checkout,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
