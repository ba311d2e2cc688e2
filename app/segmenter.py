"""The cells of a numpy array: what is called from Python."""

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, NoReturn, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .files.axes import Stack, to_image
from .log import warnings_collected
from .look import Look, Wanted
from .overrides import for_image
from .predict import Predictor
from .processor import available_threads
from .session import Device, Precision
from .settings import DIAMETERS, MAGNIFICATIONS, WEIGHTS

_PERCENTILES = (0, 100)


@dataclass(frozen=True, eq=False)
class Segmentation:
    """The N cells of an image, and how it was shown to the networks to find them.

    Cell number i has label i, box i - 1 and score i - 1; the most certain ones come first.
    """

    labels: NDArray[np.uint16] | NDArray[np.uint32]
    """(H, W): 0 is background, 1 to N are the cells; uint32 where there are more than 65,535."""
    boxes: NDArray[np.float32]
    """(N, 4) xyxy, pixels of the image, as the detector has drawn them around each cell."""
    scores: NDArray[np.float32]
    """(N,) how sure the detector is of each, 0-1."""
    look: Look
    """How the image was shown: its channels, their limits of brightness, the magnification."""
    is_usual: bool
    """Whether that was the usual way, or one in which the detector was surer."""
    warnings: tuple[str, ...]
    """What may be wrong with the result; mostly nothing."""


class Segmenter:
    """Finds the cells of any number of images, also in several threads at once.

    It prints nothing, and after an interrupt (Ctrl-C) it can be used as before. Its networks don't
    survive a fork, and it can't be pickled: make one in each process. Either is an error that says
    so.

    Args:
        weights: folder with ``settings.json`` and the graphs it names.
        device: ``auto`` takes CUDA where it works and the CPU elsewhere.
        threads: of the CPU, for one call; by default all that this process may use.
        precision: of the networks: ``int8`` (for CPUs with VNNI instructions), ``float``, or
            ``auto``, what is fastest.

    Attributes:
        provider: of ONNX Runtime, that runs the networks: "CPUExecutionProvider" or
            "CUDAExecutionProvider".

    Raises:
        ValueError: the weights are not what the settings say, or an argument is wrong.
        DeviceError: ``cuda`` was asked for and can't be used. It is a RuntimeError.
    """

    def __init__(
        self,
        weights: str | Path = WEIGHTS,
        device: Device = "auto",
        threads: int | None = None,
        precision: Precision = "auto",
    ) -> None:
        if not isinstance(weights, str | os.PathLike):
            raise ValueError(f"weights={weights!r}: the path of a folder was wanted")
        for name, value, kind in (("device", device, Device), ("precision", precision, Precision)):
            if not (isinstance(value, str) and value in get_args(kind)):
                choices = ", ".join(get_args(kind))
                raise ValueError(f"{name}={value!r}: one of {choices} was wanted")
        if threads is None:
            threads = available_threads()
        elif not _is_whole(threads) or threads < 1:
            raise ValueError(f"threads={threads!r}: a whole number from 1 on was wanted")
        self._predictor = Predictor(Path(weights), device, int(threads), precision=precision)
        self._process = os.getpid()
        self.provider = self._predictor.provider

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Segmenter can't be pickled or copied; make one in each process")

    def segment(
        self,
        array: ArrayLike,
        *,
        axes: str | None = None,
        stack: Stack = "refuse",
        channels: int | Sequence[int] | None = None,
        percentiles: tuple[float, float] | None = None,
        levels: tuple[float, float] | None = None,
        diameter: float | None = None,
        magnification: float | None = None,
    ) -> Segmentation:
        """Outline every cell of an image. How it is shown to the networks is found, unless given.

        Args:
            array: (H, W) or (H, W, C) of any real dtype, three channels RGB; it is not changed.
            axes: a letter for each axis of another array, such as ``CYX``; see ``to_image``.
            stack: what to do with several planes (depth, time): ``refuse``, ``max`` (their
                maximum), or the number of one of them, from 0.
            channels: show these alone, by their numbers from 0.
            percentiles: low and high, 0-100, that become black and white in each channel.
            levels: the same as grey levels of the array.
            diameter: of the cells, pixels; the image is shown at the size that suits them.
            magnification: pixels that the detector gets along each side of a pixel, instead.

        Raises:
            TypeError: the array holds no real numbers.
            ValueError: it is in doubt which axes it has, it is a stack, or an argument is wrong.
            MemoryError: there is not enough.
            RuntimeError: the process was forked since the Segmenter was made.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "this Segmenter was made before the process was forked, which its networks don't "
                "survive; make one in each process"
            )
        if isinstance(array, str | os.PathLike):
            raise TypeError(f"array={str(array)!r}: an array was wanted; read the file first")
        if not isinstance(axes, str | None):
            raise ValueError(f"axes={axes!r}: a letter for each axis was wanted, such as 'CYX'")
        filled = getattr(array, "filled", None)  # of a masked array; NumPy leaves the mask aside
        given = np.asarray(filled(0) if filled else array)
        image = to_image(given, axes, stack)
        asked = None if channels is None else _numbers(channels)
        wanted = _wanted(percentiles, levels, diameter, magnification)
        name = Path(f"array of shape {given.shape}")
        wanted = for_image(name, image.shape, (), asked, wanted, self._predictor.method)
        # Differences of the largest numbers are infinite, and nothing is to be printed of it.
        with warnings_collected() as warnings:
            found = self._predictor.predict(image, wanted=wanted)
        look, usual = found.choice.look, found.choice.usual
        labels = found.labels[:, :]
        return Segmentation(labels, found.boxes, found.scores, look, look == usual, tuple(warnings))


def _numbers(channels: int | Sequence[int]) -> tuple[int, ...]:
    """Channels as a tuple of numbers.

    Raises:
        ValueError: there are none, or one is no number from 0.
    """
    several = _listed(channels) or [channels]
    if not all(_is_whole(channel) and channel >= 0 for channel in several):
        raise ValueError(f"channels={channels!r}: numbers from 0 were wanted")
    return tuple(map(int, several))


def _wanted(
    percentiles: tuple[float, float] | None,
    levels: tuple[float, float] | None,
    diameter: float | None,
    magnification: float | None,
) -> Wanted:
    """What was chosen by hand beside channels.

    Raises:
        ValueError: a value is out of its range, or two contradict each other.
    """
    if percentiles is not None and levels is not None:
        raise ValueError("percentiles or levels were wanted, not both")
    if diameter is not None and magnification is not None:
        raise ValueError("a diameter or a magnification was wanted, not both")
    return Wanted(
        percentiles=_pair("percentiles", percentiles, *_PERCENTILES),
        levels=_pair("levels", levels, -math.inf, math.inf),
        diameter=_number("diameter", diameter, *DIAMETERS),
        magnification=_number("magnification", magnification, *MAGNIFICATIONS),
    )


def _pair(
    name: str, values: tuple[float, float] | None, least: float, most: float
) -> tuple[float, float] | None:
    if values is None:
        return None
    both = _listed(values)
    low, high = map(_real, both) if len(both) == 2 else (math.nan, math.nan)
    if not (least <= low < high <= most and math.isfinite(high - low)):
        within = "" if math.isinf(most) else f" from {least} to {most}"
        raise ValueError(f"{name}={values!r}: two numbers{within} were wanted, the lower one first")
    return low, high


def _number(name: str, value: float | None, least: float, most: float) -> float | None:
    if value is None:
        return None
    number = _real(value)
    if not least <= number <= most:
        raise ValueError(f"{name}={value!r}: a number from {least} to {most} was wanted")
    return number


def _listed(values: Any) -> list[Any]:
    """The members of a sequence or an array; of anything else none."""
    members = values.tolist() if isinstance(values, np.ndarray) else values
    return list(members) if isinstance(members, Sequence) else []


def _is_whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _real(value: Any) -> float:
    """A number as a float; what is none, or too large for one, is NaN."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan
