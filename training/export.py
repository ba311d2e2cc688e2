"""Trained weights to what the predictor reads: two ONNX graphs and settings.json.

    python -m training.export training/configs/shipped.toml RUN/DETECTOR RUN/SEGMENTER weights

Both are folders of stages of training/train.py; their best.pt is taken. With - in place of one, its
graph stays as it is in the weights. Fails unless ONNX Runtime agrees with torch on inputs of
several sizes, not square, two in a batch. From these graphs training/quantise.py makes those of
fewer bits, for other processors.
"""

import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from app.processor import Processor
from app.session import Run
from app.settings import (
    FILE_NAME,
    Graph,
    Method,
    Resources,
    Settings,
    load_settings,
    sha256,
)
from training.checkpoints import load_weights, read_checkpoint
from training.command import command_parser, user_errors
from training.config import SIZES, Config, load_config
from training.errors import InputError
from training.models.baseline import Baseline
from training.models.detector import GRANULARITY, Detector
from training.models.segmenter import Segmenter

# Largest difference between torch and ONNX Runtime; boxes in pixels, the rest as shares of 1.
TOLERANCE = {"boxes": 0.02, "scores": 1e-4, "masks": 1e-4}
KEPT = Path("-")
ROLES = ("detector", "segmenter")
_OPSET = 18
MODELS: dict[str, type[Detector | Segmenter]] = {
    "detector": Detector,
    "segmenter": Segmenter,
    "baseline": Baseline,
}
_KEYS = ("model", "stage", "weights", "step", "steps", "commit")  # of a checkpoint
_STAGE_KEYS = ("size", "batch", "seed")  # of its stage
FAMILIES = {"detector": "YOLOX", "segmenter": "U-Net", "baseline": "three-class U-Net"}


class ExportedDetector(nn.Module):
    """(B, H, W, 3) uint8 RGB to boxes (B, A, 4) float32 xyxy pixels and scores (B, A) in [0, 1]."""

    input, outputs = "images", ("boxes", "scores")
    pixels = 0.0, 1.0  # what 0 stands for in the model, and by how much a grey level is more
    # Traced on the first shape, compared on all.
    shapes = ((2, 4 * GRANULARITY, 6 * GRANULARITY), (1, 7 * GRANULARITY, 3 * GRANULARITY))
    dynamic: ClassVar[dict[int, Any]] = {
        0: Dim("batch"),
        1: GRANULARITY * Dim("rows"),
        2: GRANULARITY * Dim("columns"),
    }

    def __init__(self, detector: Detector) -> None:
        super().__init__()
        self.detector = detector
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = self.detector(images.permute(0, 3, 1, 2))
        return found.boxes, found.objectness.sigmoid() * found.classes[..., 0].sigmoid()


class ExportedSegmenter(nn.Module):
    """(B, S, S, 3) uint8 RGB crops to probabilities (B, S, S) float32 of the cell in the middle."""

    input, outputs = "crops", ("masks",)
    pixels = -1.0, 1 / 127.5
    dynamic: ClassVar[dict[int, Any]] = {0: Dim("batch")}

    def __init__(self, segmenter: Segmenter, crop_size: int) -> None:
        super().__init__()
        self.segmenter = segmenter
        self.shapes = ((2, crop_size, crop_size), (5, crop_size, crop_size))
        self.eval()

    def forward(self, crops: Tensor) -> tuple[Tensor, ...]:
        # Of two classes the softmax is the sigmoid of the difference.
        return (self.segmenter.certainty(crops.permute(0, 3, 1, 2)).sigmoid(),)


Exported = ExportedDetector | ExportedSegmenter


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    for name in ("config", "detector", "segmenter", "weights"):
        parser.add_argument(name, type=Path)
    options = parser.parse_args(arguments)
    with user_errors(parser):
        config = load_config(options.config)
        export_runs(options.detector, options.segmenter, config, options.weights)
    return 0


def export_runs(detector: Path, segmenter: Path, config: Config, weights: Path) -> None:
    """Write the weights of a trained detector and segmenter.

    Args:
        detector: folder of its stage, or KEPT; ``segmenter`` likewise.
        config: has the numbers that go into the settings.
        weights: as ``write_weights`` wants it.

    Raises:
        OSError: a checkpoint is missing.
        InputError: the folders are of other models.
    """
    models: dict[str, tuple[Exported, str]] = {}
    wanted = "the runs of a detector and of a segmenter were wanted, in this order"
    if detector != KEPT:
        boxes, note = load_model(detector / "best.pt")
        if not isinstance(boxes, Detector):
            raise InputError(f"{detector}: not the run of a detector; {wanted}")
        models["detector"] = ExportedDetector(boxes), note
    if segmenter != KEPT:
        masks, note = load_model(segmenter / "best.pt")
        if type(masks) is not Segmenter:
            raise InputError(f"{segmenter}: not the run of a segmenter; {wanted}")
        models["segmenter"] = ExportedSegmenter(masks, config.method.crop_size), note
    write_weights(models, config.method, config.resources, weights)


def load_model(checkpoint: Path) -> tuple[Detector | Segmenter, str]:
    """A trained model from its checkpoint alone, and a note on its training.

    Raises:
        OSError: there is no such file.
        InputError: it is no checkpoint of training/trainer.py.
    """
    state = read_checkpoint(checkpoint, keys=_KEYS)
    if state["model"] not in MODELS:
        raise InputError(f"{checkpoint}: names none of the models {', '.join(MODELS)}")
    stage, family = state["stage"], FAMILIES[state["model"]]
    if missing := [key for key in _STAGE_KEYS if key not in stage]:
        raise InputError(f"{checkpoint}: its stage has no {missing[0]!r}; train it again")
    if stage["size"] not in (sizes := SIZES[state["model"]]):
        raise InputError(
            f"{checkpoint}: is of a {state['model']} {stage['size']}; wanted {' or '.join(sizes)}"
        )
    model = MODELS[state["model"]](stage["size"])
    load_weights(model, checkpoint, state["weights"])
    note = (
        f"{family} {stage['size']}, step {state['step']} of {state['steps']}, "
        f"{stage['batch']} crops each, seed {stage['seed']}, code {state['commit']}; "
        "see README.md beside this file"
    )
    return model, note


def runner(model: Exported) -> Run:
    """A model, on its device, as a function of arrays, like those that ``app.session`` makes."""
    device = next(model.parameters()).device

    @torch.inference_mode()
    def run(batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return [output.cpu().numpy() for output in model(torch.from_numpy(batch).to(device))]

    return run


def write_weights(
    models: dict[str, tuple[Exported, str]], method: Method, resources: Resources, folder: Path
) -> Settings:
    """Export both graphs, compare them with torch, and write the settings that name them.

    Args:
        models: ``detector`` and ``segmenter``, each with a note on its training; where one is left
            out, its graph for any processor stays.
        method: the numbers that go into the settings.
        resources: the same.
        folder: receives both graphs and settings.json, unless anything fails.

    Raises:
        ValueError: ONNX Runtime and torch disagree.
        SettingsError: a graph was to stay, but there are no weights that could be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    graphs: dict[str, dict[Processor, Graph]] = {}
    if len(models) < len(ROLES):
        old = load_settings(folder)
        graphs = {role: {"cpu": getattr(old, role)["cpu"]} for role in ROLES}
    with tempfile.TemporaryDirectory(dir=folder) as name:
        scratch = Path(name)
        for role, (model, note) in models.items():
            path = scratch / f"{role}.onnx"
            export(model, path)
            check_parity(model, path)
            graphs[role] = {"cpu": Graph(file=path.name, sha256=sha256(path), trained=note)}
        settings = Settings(
            method=method,
            resources=resources,
            detector=graphs["detector"],
            segmenter=graphs["segmenter"],
        )
        write_settings(settings, scratch)
        take_places(scratch, folder)
    return settings


def take_places(made: Path, folder: Path) -> None:
    """Move graphs, and after them the settings that name them, into a folder of weights."""
    for file in sorted(made.iterdir(), key=lambda file: file.name == FILE_NAME):
        file.replace(folder / file.name)


def write_settings(settings: Settings, folder: Path) -> None:
    """Write ``settings.json``."""
    text = json.dumps(dataclasses.asdict(settings), indent=2)
    (folder / FILE_NAME).write_text(text + "\n")


def export(model: Exported, path: Path) -> None:
    """Write a model as an ONNX graph; batch, and a detector's height and width, are free."""
    torch.onnx.export(
        model,
        (torch.from_numpy(_example(model.shapes[0])),),
        path,
        input_names=[model.input],
        output_names=list(model.outputs),
        dynamic_shapes=(model.dynamic,),
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
    )


def check_parity(model: Exported, path: Path) -> None:
    """Compare a graph with its model and print the largest differences.

    Raises:
        ValueError: one is above its tolerance.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for shape in model.shapes:
        batch = _example(shape)
        wanted = runner(model)(batch)
        found: list[Any] = session.run(None, {session.get_inputs()[0].name: batch})
        for output, a, b in zip(model.outputs, wanted, found, strict=True):
            difference = float(np.abs(a - b).max())
            print(f"{path.stem} {shape}: {output} differ by at most {difference:.2g}")
            if not difference <= TOLERANCE[output]:
                raise ValueError(
                    f"{path.name} {shape}: {output} differ by {difference:.3g}, "
                    f"allowed are {TOLERANCE[output]}"
                )


def _example(shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    rng = np.random.default_rng(sum(shape))
    return rng.integers(0, 256, (*shape, 3), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
