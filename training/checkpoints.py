"""Checkpoints as files: one written by a training run, or by anything else that torch saves."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.errors import InputError

CHECKPOINT = "checkpoint.pt"  # of a run, in the folder of its stage; to resume from
_TABLES = ("weights", "averaged", "stage", "method")  # what a training run writes as such


def read_checkpoint(
    path: Path, device: torch.device | str = "cpu", keys: Sequence[str] = ()
) -> dict[str, Any]:
    """The contents of a checkpoint; nothing in it is run.

    Args:
        path: the file.
        device: where its tensors go.
        keys: that it must have.

    Raises:
        OSError: there is no such file.
        InputError: it is no checkpoint.
    """
    try:
        state = torch.load(path, device, weights_only=True)
    except OSError:
        raise
    # What is no checkpoint makes torch raise nearly any exception.
    except Exception as error:
        what = str(error).split("\n")[0]
        raise InputError(f"{path}: not a checkpoint of weights ({what})") from error
    if not isinstance(state, dict):
        raise InputError(f"{path}: holds a {type(state).__name__}; a checkpoint was wanted")
    if wrong := [key for key in _TABLES if not isinstance(state.get(key, {}), dict)]:
        what = type(state[wrong[0]]).__name__
        raise InputError(f"{path}: {wrong[0]!r} is a {what}; a table was wanted")
    if missing := [key for key in keys if key not in state]:
        raise InputError(
            f"{path}: has no {missing[0]!r}; a checkpoint of a training run was wanted"
        )
    return state


def load_weights(model: nn.Module, path: Path, found: Mapping[str, Tensor]) -> None:
    """Load tensors by name, if they are just those of the model.

    Args:
        model: is changed in place.
        path: for messages.
        found: the tensors.

    Raises:
        InputError: they are those of another model; the first name is given.
    """
    ours = model.state_dict()
    if unknown := sorted(found.keys() - ours.keys()):
        raise InputError(f"{path}: {unknown[0]} is unknown ({len(unknown)} names in all)")
    if missing := sorted(ours.keys() - found.keys()):
        raise InputError(f"{path}: {missing[0]} is missing ({len(missing)} names in all)")
    for name, value in ours.items():
        check_shape(path, name, value, found[name])
    model.load_state_dict(dict(found))


def check_shape(path: Path, name: str, wanted: Tensor, found: Any) -> None:
    """See that a value of a file is a tensor of the shape of the model's.

    Raises:
        InputError: it isn't; file, name and shapes are given.
    """
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        kind = "nothing" if found is None else type(found).__name__
        what = tuple(found.shape) if isinstance(found, Tensor) else kind
        raise InputError(f"{path}: {name}: {tuple(wanted.shape)} was wanted, found {what}")
