"""What the user chose by hand of how images are shown, for one image; what can't be is refused."""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from .files.arrays import ImageError
from .look import Wanted
from .settings import Method

logger = logging.getLogger(__name__)

Asked = tuple[int | str, ...]  # channels by their numbers from 0, or by their names in the file

_MAX_PIXELS = 2**31  # of an image that is enlarged


def for_image(
    path: Path,
    shape: tuple[int, ...],
    names: Sequence[str],
    channels: Asked | None,
    wanted: Wanted,
    method: Method,
) -> Wanted:
    """What is wanted of one image, with its channels as numbers.

    Args:
        path: for messages.
        shape: (H, W, C) of the image.
        names: of its channels, none where they are unknown.
        channels: take the place of those in ``wanted``; None leaves them.
        wanted: the rest.
        method: the diameter that ``wanted.diameter`` aims at.

    Raises:
        ImageError: the image has no such channel, or would become too large.
    """
    if channels is not None:
        wanted = replace(wanted, channels=channel_numbers(path, channels, shape[2], names))
    factor = wanted.factor(method) or 1.0
    pixels = shape[0] * shape[1] * factor**2
    if factor > 1 and pixels > _MAX_PIXELS:
        raise ImageError(
            f"{path}: would become {pixels / 1e6:.0f} megapixels at {factor:.4g} times its size, "
            f"{_MAX_PIXELS / 1e6:.0f} at most are done; give a smaller magnification or a "
            "larger diameter"
        )
    return wanted


def channel_numbers(
    path: Path, channels: Asked, count: int, names: Sequence[str]
) -> tuple[int, ...]:
    """Channels of one image by their numbers.

    Args:
        path: for messages.
        channels: numbers and names, whatever their case; a number that is too high may be a name.
        count: channels of the image.
        names: of each of them, or none.

    Raises:
        ImageError: a number is too high, a name is unknown or that of several channels, or two
            mean the same channel.
    """
    numbers: list[int] = []
    for channel in channels:
        found = [n for n, name in enumerate(names) if name.casefold() == str(channel).casefold()]
        if isinstance(channel, int) and channel < count:
            if found and found != [channel]:
                what = "channel %d is taken by its number, not the one of this name, which is %d"
                logger.warning(what, channel, found[0])
            found = [channel]
        if len(found) != 1:
            problem = f"there are {len(found)} channels" if found else "there is no channel"
            raise ImageError(f"{path}: {problem} {channel}; {_inventory(count, names)}")
        numbers += found
    if len(set(numbers)) < len(numbers):
        given = ",".join(map(str, channels))
        raise ImageError(
            f"{path}: channels {given} name a channel twice; {_inventory(count, names)}"
        )
    return tuple(numbers)


def _inventory(count: int, names: Sequence[str]) -> str:
    """What channels there are, and how to choose among them."""
    channels = "1 channel" if count == 1 else f"{count} channels"
    if not names:
        numbers = "0" if count == 1 else f"numbers from 0 to {count - 1}"
        return f"it has {channels} without names; give {numbers}"
    listed = ", ".join(f"{n} {name}".rstrip() for n, name in enumerate(names))
    return f"it has {channels}: {listed}; give numbers or names of these"
