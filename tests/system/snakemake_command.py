"""Snakemake with the workflow in cluster/snakemake and the toy weights."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.app.command_line import TOY, picture, run_in, write

IMAGES = 40
OPTIONS = "--weights", str(TOY.resolve()), "--device", "cpu"
_WORKFLOW = Path("cluster/snakemake").resolve()
# First this environment's: predict.sh takes its python3 where the checkout has no .venv.
_PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
_PROGRAM = shutil.which("snakemake", path=_PATH)
_LIMIT = 600  # seconds


def why_not(executor: str = "local") -> str:
    """Why it can't be run here; empty if it can."""
    if _PROGRAM is None:
        return "snakemake is not installed (pip install snakemake)"
    known = subprocess.run([_PROGRAM, "--help"], capture_output=True, text=True, check=True).stdout
    if executor == "slurm" and "--slurm-requeue" not in known:
        return "its executor is not installed (pip install snakemake-executor-plugin-slurm)"
    return ""


def snakemake(
    folder: Path,
    profile: str,
    *more: str,
    shards: int = 4,
    environment: Mapping[str, str] = os.environ,
) -> tuple[int, str]:
    """From the folder's ``in`` to its ``out``: exit status, and what is told."""
    config = ["input=in", "output=out", f"shards={shards}", f"options={' '.join(OPTIONS)}"]
    command = [str(_PROGRAM), "--snakefile", str(_WORKFLOW / "Snakefile"), "--profile"]
    command += [str(_WORKFLOW / "profiles" / profile), *more, "--config", *config]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, "PATH": _PATH},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=_LIMIT,
    )
    return done.returncode, done.stdout


def segment_alone(folder: Path) -> Path:
    """Make forty images in the folder's ``in``, and in its ``out`` what one run makes of them."""
    (folder / "in").mkdir()
    for n in range(IMAGES):
        write(folder / "in" / f"{n:02}.{'tif' if n % 3 else 'png'}", picture(60 + 4 * n))
    assert run_in(folder) == 0
    return folder
