"""Weights that a training run starts from: of another run, of an exported graph, or of YOLOX.

The content of a file tells which it is:

- a checkpoint of training/trainer.py;
- an ONNX graph of floats. It has no batch norms left, since export folds each into its convolution.
  ``load_graph`` gives them back, so that weights that were shipped can be trained on;
- a checkpoint of the public YOLOX repository, such as its ``yolox_s.pth``, trained on COCO.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import numpy_helper
from torch import Tensor, nn

from training.checkpoints import check_shape, load_weights, read_checkpoint
from training.errors import InputError
from training.models.detector import Detector

_FOLDED = "_bias"  # the name of a folded bias ends with it, after that of its kernel
_TORCH = (b"PK", b"\x80")  # how files of torch.save begin: zip archives, and pickles in old ones
_MIN_LENGTH = 1e-6  # of a kernel that may be scaled
_STEM, _CLASSES = "backbone.stem.conv.conv.weight", "head.cls_preds."


def load_start(model: nn.Module, path: Path, draw: Callable[[], Iterable[Tensor]]) -> None:
    """Load weights into a model of the same size.

    Args:
        model: is changed in place.
        path: the file.
        draw: makes batches as training has them, (B, 3, H, W) float, RGB in [0, 255]; called for
            a graph alone.

    Raises:
        OSError: there is no such file.
        InputError: it holds no weights, or those of another model; the first name is given.
    """
    with path.open("rb") as file:
        saved_by_torch = file.read(2).startswith(_TORCH)
    if not saved_by_torch:
        load_graph(model, path, draw())
        return
    state = read_checkpoint(path)
    if "weights" in state:
        load_weights(model, path, state["weights"])
    elif isinstance(model, Detector) and isinstance(state.get("model"), Mapping):
        load_yolox(model, path, state["model"])
    else:
        raise InputError(
            f"{path}: has {', '.join(map(str, state))}; wanted 'weights', or 'model' of YOLOX "
            "for a detector"
        )


def load_yolox(detector: Detector, path: Path, state: Mapping[str, Tensor]) -> None:
    """Load a state dict of the public YOLOX repository into a detector of the same size.

    The last layer of the class branch stays as it is where the number of classes differs. Those
    detectors take BGR in [0, 255] ("legacy" ones, of before August 2021, do not); ours takes RGB.

    Args:
        state: names such as ``backbone.backbone.stem.conv.conv.weight``.

    Other arguments and errors as of ``load_start``.
    """
    found = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "backbone":
            name = rest if rest.startswith("backbone.") else f"neck.{rest}"
        found[name] = value
    ours = detector.state_dict()
    check_shape(path, _STEM, ours[_STEM], found.get(_STEM))
    kernels = found[_STEM]  # their input channels are of four pixels, three of each
    by_pixel = kernels.reshape(len(kernels), 4, 3, *kernels.shape[2:])
    found[_STEM] = by_pixel.flip(2).reshape(kernels.shape)
    for name, value in ours.items():
        if name.startswith(_CLASSES) and name in found and found[name].shape != value.shape:
            found[name] = value
    load_weights(detector, path, found)


def load_graph(model: nn.Module, path: Path, batches: Iterable[Tensor]) -> None:
    """Load an exported graph; its batch norms are set so that nothing changes for these images.

    A folded kernel w and bias b stand for a convolution by w and a batch norm whose mean and
    variance are those of the convolution's outputs, and whose weight and bias undo that but for b.
    These have to be of many images: in training each batch brings a mean and a variance of its
    own, and where that differs, so does what the model does. Kernels get a length of one for each
    output channel: behind a batch norm it means nothing for the output, but a step of AdamW moves
    a weight by the learning rate, and folded kernels of the first layer, whose inputs go to 255,
    are no larger than that. training/HISTORY.md has what either cost.
    Arguments and errors as of ``load_start``; batches is what ``draw`` makes there.
    """
    try:
        graph = onnx.load(path).graph
    except DecodeError as error:
        raise InputError(f"{path}: neither a checkpoint of torch nor an ONNX graph") from error
    stored = {
        tensor.name.partition(".")[2]: torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for tensor in graph.initializer
    }

    def take(name: str, like: Tensor) -> Tensor:
        check_shape(path, name, like, stored.get(name))
        return stored[name]

    inputs = {}
    kernel, convolution = "", None
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.Conv2d):
                kernel, convolution = f"{name}.weight", module
                module.weight.copy_(take(kernel, module.weight))
                if module.bias is not None:
                    module.bias.copy_(take(f"{name}.bias", module.bias))
            elif isinstance(module, nn.BatchNorm2d):
                assert convolution is not None  # each follows its own
                lengths = _scale_to_one(convolution)
                _only_add(module, lengths, take(kernel + _FOLDED, module.bias))
                inputs[module] = _Moments(module)
        model.eval()
        for images in batches:
            model(images)
        for norm, moments in inputs.items():
            moments.set(norm)


def _scale_to_one(convolution: nn.Conv2d) -> Tensor:
    """Scale the kernel of each output channel to a length of one; returns their lengths (C,)."""
    lengths: Tensor = convolution.weight.flatten(1).norm(dim=1).clamp(min=_MIN_LENGTH)
    convolution.weight.div_(lengths[:, None, None, None])
    return lengths


def _only_add(norm: nn.BatchNorm2d, lengths: Tensor, bias: Tensor) -> None:
    """Let a batch norm in evaluation undo a scale (C,), add a bias (C,), and nothing else."""
    norm.reset_running_stats()
    assert norm.running_var is not None
    norm.running_var.sub_(norm.eps)
    norm.weight.copy_(lengths)
    norm.bias.copy_(bias)


class _Moments:
    """Mean and variance, by channel, of all that comes into a batch norm."""

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        self.count = 0
        self.sums = torch.zeros((2, norm.num_features), dtype=torch.float64)
        self.hook = norm.register_forward_pre_hook(self._add)

    def _add(self, _norm: nn.Module, inputs: tuple[Tensor]) -> None:
        values = inputs[0].double()
        self.count += values.numel() // values.shape[1]
        self.sums += torch.stack((values.sum((0, 2, 3)), values.square().sum((0, 2, 3))))

    def set(self, norm: nn.BatchNorm2d) -> None:
        """Normalise by these from now on, and undo it, so that no output changes."""
        self.hook.remove()
        mean, square = self.sums / self.count
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(square - mean.square())
        norm.bias.add_(norm.weight * norm.running_mean)
        norm.weight.mul_((norm.running_var + norm.eps).sqrt())
