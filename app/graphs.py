"""The two networks of a folder of weights, opened on what runs them best."""

from dataclasses import dataclass
from pathlib import Path

from .session import (
    Device,
    DeviceError,
    Network,
    Precision,
    Run,
    candidates,
    open_session,
    provider,
)
from .settings import Graph, Settings, SettingsError, graph_path, load_settings

_WINDOWS = 2  # of one image that go through the detector at once, where there are as many threads


@dataclass(frozen=True)
class Graphs:
    """Both networks, and what they run on."""

    settings: Settings
    detector: Run
    segmenter: Run
    files: list[Graph]
    """Of the two."""
    provider: str
    """ONNX Runtime's name for what runs them."""
    on_cpu: bool
    without_cuda: str | None
    """Why CUDA does not run them, where it was tried."""


def open_graphs(weights: Path, device: Device, threads: int, precision: Precision) -> Graphs:
    """Open the networks; ``app.predict.Predictor`` has the arguments.

    Raises:
        SettingsError: the weights are not what the settings say, or lack graphs of the precision.
        DeviceError: what was asked for is not there.
    """
    settings = load_settings(weights)
    models = settings.detector, settings.segmenter
    *others, last = candidates(device, precision)
    if precision == "int8" and not all("vnni" in model for model in models):
        raise SettingsError(
            f"{weights}: has no graphs of 8-bit integers; make them (python -m "
            "training.quantise), or take precision float"
        )
    without_cuda: str | None = None
    for processor in (*others, last):
        paths = [graph_path(weights, model, processor) for model in models]
        try:
            sessions = [
                open_session(path, processor, shared, settings.resources.gpu_memory)
                for path, shared in zip(paths, (threads, 1), strict=True)
            ]
            break
        except DeviceError as error:
            if processor == last:
                raise DeviceError(f"device cuda: {error}, or take the CPU (device cpu)") from error
            without_cuda = str(error)
    files = [model.get(processor, model["cpu"]) for model in models]
    # A window's operators are shared among threads, beside those of another one; crops are too
    # small for that, and each thread has some of its own (python -m benchmarks.concurrency).
    most = 1 if processor == "cuda" else threads
    detector = Network(sessions[0], most, min(_WINDOWS, most))
    segmenter = Network(sessions[1], most, most)
    about = provider(sessions[0]), processor != "cuda", without_cuda
    return Graphs(settings, detector, segmenter, files, *about)
