"""Which axes of an array are height, width and channels, and which ones number planes."""

import math
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Stack = Literal["refuse", "max"] | int

# A last axis that is shorter than this is channels.
UNNAMED_CHANNELS = 8


def to_image(array: NDArray[Any], axes: str | None = None, stack: Stack = "refuse") -> NDArray[Any]:
    """The one image that an array holds, or that is wanted of its planes.

    Args:
        array: (H, W) or (H, W, C), bool, integers or floats; or any other axes that are named, or
            that are a stack without doubt.
        axes: a letter for each axis: Y is height, X width, C (or S) channels, and all others number
            planes. By default two axes are YX; the last of three or four is C if it is shorter than
            8; and what comes before Y is a stack.
        stack: what to do with several planes: ``refuse`` them, take their ``max``, or the number of
            one of them, from 0.

    Returns:
        (H, W, C) in native byte order, a view of the array where that can be; bool becomes uint8.

    Raises:
        TypeError: the values are no real numbers.
        ValueError: the array is empty, or it is in doubt what it holds.
    """
    if array.dtype.kind not in "buif":
        what = "np.abs(array), or its real part" if array.dtype.kind == "c" else "numbers"
        raise TypeError(f"the array holds {array.dtype} values; give {what}")
    if not array.size or array.ndim < 2:
        raise ValueError(f"{_shape(array)}: (H, W) or (H, W, C) was wanted, none of them 0")
    axes = _guess(array, stack) if axes is None else _check(axes, array)
    channels = [k for k, letter in enumerate(axes) if letter in "CS"]
    inside = [axes.index("Y"), axes.index("X"), *channels]
    planes = array.transpose(*(k for k in range(array.ndim) if k not in inside), *inside)
    image = _choose(planes, planes.shape[: array.ndim - len(inside)], axes, stack)
    image = image if channels else image[:, :, None]
    if image.dtype == np.bool_:
        return image.astype(np.uint8)
    return image.astype(image.dtype.newbyteorder("="), copy=False)


def _guess(array: NDArray[Any], stack: Stack) -> str:
    """The axes of an array by its shape.

    Raises:
        ValueError: there are several readings.
    """
    *before, last = array.shape
    if array.ndim == 2:
        return "YX"
    if array.ndim <= 4 and last < UNNAMED_CHANNELS:
        return "ZYXC"[-array.ndim :]
    leading = before[:-1]
    may_be_channels = any(1 < n < UNNAMED_CHANNELS for n in leading)
    if array.ndim == 3:
        # Who asks for a plane says that there are some.
        may_be_channels = may_be_channels and stack == "refuse"
    if array.ndim <= 4 and not may_be_channels and last >= max(leading):
        return "TZYX"[-array.ndim :]
    example = {3: "CYX", 4: "ZCYX"}.get(array.ndim, "TZCYX")
    moved = ", or np.moveaxis(array, 0, -1)" if array.ndim == 3 else ""
    raise ValueError(
        f"{_shape(array)}: which axes are channels, and which ones planes, can't be told; name "
        f"them all, such as axes={example!r}{moved}"
    )


def _check(axes: str, array: NDArray[Any]) -> str:
    """Axes that were given, as capitals.

    Raises:
        ValueError: they don't fit the array.
    """
    letters = axes.upper()
    good = len(set(letters)) == len(letters) == array.ndim and {"Y", "X"} <= set(letters)
    if not good or {"C", "S"} <= set(letters):
        raise ValueError(
            f"{_shape(array)}, axes={axes!r}: one letter for each axis was wanted, with Y for "
            "height, X for width, and C for channels if there are any"
        )
    return letters


def _choose(
    planes: NDArray[Any], lengths: tuple[int, ...], axes: str, stack: Stack
) -> NDArray[Any]:
    """One of (..., H, W) or (..., H, W, C), where the first axes have some lengths.

    Raises:
        ValueError: there are several and none was asked for, or not that many.
    """
    total = math.prod(lengths)
    if not (stack in ("refuse", "max") or _is_number(stack)):
        raise ValueError(f"stack={stack!r}: 'max' or the number of a plane, from 0, was wanted")
    if total == 1:
        return np.asarray(planes[(0,) * len(lengths)])
    if stack == "max":
        return np.asarray(np.fmax.reduce(planes, tuple(range(len(lengths)))))  # not of NaN
    if stack == "refuse":
        raise ValueError(
            f"axes {axes}: {total} planes were found, and one image was wanted; give stack='max' "
            f"for their maximum or stack=NUMBER for one of them, 0 to {total - 1}; where these are "
            "no planes, name the axes, such as axes='CYX' or axes='YXC'"
        )
    if int(stack) >= total:
        raise ValueError(f"stack={stack}: axes {axes} have planes 0 to {total - 1}")
    place = np.unravel_index(int(stack), lengths)
    return np.asarray(planes[tuple(int(n) for n in place)])


def _is_number(stack: object) -> bool:
    return isinstance(stack, int | np.integer) and not isinstance(stack, bool) and int(stack) >= 0


def _shape(array: NDArray[Any]) -> str:
    return f"array of shape {array.shape}"
