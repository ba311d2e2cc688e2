"""python slurm_task.py MARKS ARGUMENTS: ``python -m app``; on node n1 the first try of a task waits
at all images from 10 on until the second try is at work."""

import os
import sys
import time
from pathlib import Path

from app import __main__ as command
from app.predict import Predictor

marks = Path(sys.argv[1])
is_first = os.environ.get("SLURM_RESTART_COUNT", "0") == "0"
honest = Predictor.predict_file


def slowly(self, source, *rest):
    if not is_first:
        (marks / "second").touch()
    elif os.environ["SLURMD_NODENAME"] == "n1" and source.name >= "10":
        (marks / "waits").touch()
        while not (marks / "second").exists():
            time.sleep(0.05)
    time.sleep(0.2)
    return honest(self, source, *rest)


Predictor.predict_file = slowly  # type: ignore[method-assign]
sys.exit(command.main(sys.argv[2:]))
