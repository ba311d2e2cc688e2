"""How long runs were trained: the steps and hours of each stage, and of all together.

    python -m training.report.hours RUN...

RUN is a folder of training/train.py, or any folder of such ones: every log.csv below it counts.
"""

import csv
import sys
from pathlib import Path

from training.command import command_parser, user_errors
from training.errors import InputError
from training.report.curve import LOG
from training.report.markdown import head


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("runs", type=Path, nargs="+", metavar="RUN")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        logs = find_logs(options.runs)
        rows = [(str(path.parent), *read_log(path)) for path in logs]
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    print(head(["stage", "steps", "hours"]))
    for name, steps, hours in rows:
        print(f"| {name} | {steps:,} | {hours:.2f} |")
    return 0


def find_logs(runs: list[Path]) -> list[Path]:
    """The logs in and below some folders, each once.

    Raises:
        InputError: there is none in one of them.
    """
    logs: list[Path] = []
    for run in runs:
        found = sorted(run.rglob(LOG))
        if not found:
            raise InputError(f"{run}: no {LOG} in it or below; give the folder of a training run")
        logs += found
    return list(dict.fromkeys(path.resolve() for path in logs))


def read_log(path: Path) -> tuple[int, float]:
    """Steps and hours of a stage so far: the last row has them.

    Raises:
        OSError: the log can't be read.
        InputError: it is no log of a training run.
    """
    try:
        with path.open(newline="") as file:
            *_, last = csv.DictReader(file)
        return int(last["step"]), float(last["hours"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: its last row has no step and hours; wanted the log of a training run"
        ) from error


if __name__ == "__main__":
    sys.exit(main())
