"""Checkpoints as files: one written by a training run, or by anything else that torch saves."""

import pickle
from pathlib import Path
from typing import Any

import torch

from training.errors import InputError


def read_checkpoint(path: Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """The contents of a checkpoint; nothing in it is run.

    Raises:
        OSError: there is no such file.
        InputError: it is no checkpoint.
    """
    try:
        state = torch.load(path, device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        what = str(error).split("\n")[0]
        raise InputError(f"{path}: not a checkpoint of weights ({what})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}; a checkpoint was wanted")
    return state
