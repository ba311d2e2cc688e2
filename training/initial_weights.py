"""Weights to start a training run from: of another run, or of an exported graph.

A graph has no batch norms left: export folds each into its convolution. ``load_graph`` gives them
back, so that weights that were shipped can be trained on.
"""

from collections.abc import Callable
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

_FOLDED = "_bias"  # the name of a folded bias ends with it, after that of its kernel


def load_start(model: nn.Module, path: Path, draw: Callable[[], Tensor]) -> None:
    """Load the weights of a best.pt, or of a graph of floats, into a model of the same size.

    Args:
        model: is changed in place.
        path: the file.
        draw: makes a batch as training has them, (B, 3, H, W) float, RGB in [0, 255]; called for
            a graph alone.

    Raises:
        ValueError: the graph is not one of this model; the name of the first weight is given.
    """
    if path.suffix == ".onnx":
        load_graph(model, path, draw())
    else:
        model.load_state_dict(torch.load(path, "cpu", weights_only=True)["weights"])


def load_graph(model: nn.Module, path: Path, images: Tensor) -> None:
    """Load an exported graph; its batch norms are set so that nothing changes for these images.

    A folded kernel w and bias b stand for a convolution by w and a batch norm whose mean and
    variance are those of the convolution's outputs, and whose weight and bias undo that but for b.
    Arguments and errors as of ``load_start``; images is what ``draw`` makes there.
    """
    stored = {
        tensor.name.partition(".")[2]: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in onnx.load(path).graph.initializer
    }

    def take(name: str, like: Tensor) -> Tensor:
        found = stored.get(name)
        if found is None or found.shape != like.shape:
            what = "nothing" if found is None else tuple(found.shape)
            raise ValueError(f"{path}: {name}: {tuple(like.shape)} was wanted, found {what}")
        return found

    hooks = []
    kernel = ""
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                kernel = f"{name}.weight"
                module.weight.copy_(take(kernel, module.weight))
                if module.bias is not None:
                    module.bias.copy_(take(f"{name}.bias", module.bias))
            elif isinstance(module, nn.BatchNorm2d):  # each follows its convolution
                module.bias.copy_(take(kernel + _FOLDED, module.bias))
                hooks.append(module.register_forward_pre_hook(_undo))
        model.eval()(images)
    for hook in hooks:
        hook.remove()


def _undo(norm: nn.Module, inputs: tuple[Tensor]) -> None:
    """Set a batch norm that holds a folded bias so that it adds just that to its inputs."""
    assert isinstance(norm, nn.BatchNorm2d)  # registered on these alone
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(inputs[0].mean((0, 2, 3)))
    norm.running_var.copy_(inputs[0].var((0, 2, 3)))
    norm.weight.copy_((norm.running_var + norm.eps).sqrt())
    norm.bias.add_(norm.running_mean)
