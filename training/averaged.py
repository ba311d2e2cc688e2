"""Take the averaged weights of a run that was cut short as its best ones.

    python -m training.averaged RUN/STAGE

writes RUN/STAGE/best.pt, which other commands read, from RUN/STAGE/checkpoint.pt. A best.pt that is
there, of an earlier step, is replaced; the run can still be resumed.
"""

import sys
from pathlib import Path

import torch

from app.files.atomic import atomic_write
from training.checkpoints import CHECKPOINT, read_checkpoint
from training.command import command_parser, user_errors

_PREFIX = "module."  # of what torch averages
_ABOUT = ("model", "stage", "step", "steps", "method", "commit")  # what a best.pt says of itself


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("folder", type=Path, help="of a stage")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        step, steps = take_averaged(options.folder)
    print(f"{options.folder / 'best.pt'}: averaged weights of step {step} of {steps}")
    return 0


def take_averaged(folder: Path) -> tuple[int, int]:
    """Write the best.pt of a stage from its checkpoint.

    Returns:
        The step that it is of, and those that were planned.

    Raises:
        OSError: there is no checkpoint, or best.pt can't be written.
        InputError: it is none of a training run.
    """
    state = read_checkpoint(folder / CHECKPOINT, keys=("averaged", *_ABOUT))
    weights = {
        name.removeprefix(_PREFIX): value
        for name, value in state["averaged"].items()
        if name.startswith(_PREFIX)
    }
    about = {key: state[key] for key in _ABOUT}
    with atomic_write(folder / "best.pt") as part:
        torch.save({"weights": weights, **about}, part)
    return int(state["step"]), int(state["steps"])


if __name__ == "__main__":
    sys.exit(main())
