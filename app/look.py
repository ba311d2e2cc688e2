"""How an image is shown to the networks: which channels, between which grey levels, how large.

Most images are shown in the usual way. The detector tries others on a part of the image
(app/trial.py), and the one in which it is surest is kept: first channels are chosen, then limits,
then the magnification. ``python -m benchmarks.look`` measures what it gains.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .levels import Levels, Survey
from .normalise import Limits, limits_of
from .settings import Method
from .tile import scale_factor

# Percentiles that stand for the background, and for what lies one deviation of its noise below.
_BACKGROUND, _BELOW_BACKGROUND = 50.0, 16.0
_STANDS_OUT = 8.0  # deviations above the background
_FOREGROUND = 75.0  # percentile of what stands out that is shown white
_TAIL = 97.0  # percentile that is shown white where debris covers more than a hundredth
_MIN_DIFFERENCE = 0.5  # of limits that are worth a trial, as a share of the usual range


@dataclass(frozen=True)
class Look:
    """One way of showing an image.

    channels: numbers from 0; one becomes grey, two and three are red, green and blue, of four and
        more the brightest at each pixel counts; none where nothing stands out of the noise.
    limits: the grey levels of each channel that become black and white; None shows nothing of it.
    magnification: pixels that the detector gets for each pixel of the image.
    """

    channels: tuple[int, ...]
    limits: tuple[Limits, ...]
    magnification: float


@dataclass(frozen=True)
class Wanted:
    """What of a look was given by hand; None where it is to be chosen.

    channels: numbers from 0.
    percentiles: low and high, in [0, 100], of every channel.
    levels: low and high grey level, of every channel.
    diameter: of the cells, pixels of the image.
    magnification: as in ``Look``.
    cells: whether the user says that there are some: an image is then shown although nothing
        stands out of its noise.
    """

    channels: tuple[int, ...] | None = None
    percentiles: tuple[float, float] | None = None
    levels: tuple[float, float] | None = None
    diameter: float | None = None
    magnification: float | None = None
    cells: bool = False

    @property
    def limited(self) -> bool:
        return self.percentiles is not None or self.levels is not None

    @property
    def magnified(self) -> bool:
        return self.diameter is not None or self.magnification is not None

    def factor(self, method: Method) -> float | None:
        """The magnification that was given, or that suits the given diameter; None for neither."""
        if self.diameter is not None:
            return method.usual_diameter / self.diameter
        return self.magnification


def usual_look(survey: Survey, method: Method, wanted: Wanted) -> Look:
    """The way in which an image is shown unless another is better.

    Args:
        survey: of the image.
        method: the usual percentiles and magnification.
        wanted: takes their place.
    """
    full = tuple(c for c, levels in enumerate(survey.channels) if not levels.empty)
    if wanted.channels is not None:
        channels = wanted.channels
    elif not full and not _insists(survey, wanted):
        channels = ()
    elif survey.grey:
        channels = (0,)
    else:
        # Red, green and blue keep their places, one of four and more need not.
        there = tuple(range(len(survey.channels)))
        channels = full or there if len(there) > 3 else there
    magnification = wanted.factor(method) or scale_factor(survey.shape, method)
    return Look(channels, _limits(survey, channels, method, wanted), magnification)


def other_channels(look: Look, survey: Survey, method: Method, wanted: Wanted) -> Iterator[Look]:
    """Each channel alone that holds something, unless the image is a colour picture."""
    if len(look.channels) == 1 or (len(survey.channels) <= 3 and is_bright(look, survey)):
        return
    for c in look.channels:
        if not survey.channels[c].empty:
            yield replace(look, channels=(c,), limits=_limits(survey, (c,), method, wanted))


def other_limits(look: Look, survey: Survey) -> Iterator[Look]:
    """Limits for cells that cover little of the image, and for debris that covers much."""
    for other in (_sparse, _dirty, _filled):
        limits = tuple(
            pair and (pair[0], other(survey.channels[c], *pair))
            for c, pair in zip(look.channels, look.limits, strict=True)
        )
        if limits != look.limits:
            yield replace(look, limits=limits)


def other_magnifications(look: Look, factors: Sequence[float]) -> Iterator[Look]:
    """The same, larger or smaller by each of some factors."""
    for factor in factors:
        yield replace(look, magnification=look.magnification * factor)


def is_bright(look: Look, survey: Survey) -> bool:
    """Whether the background of any channel is nearer to white than to black: no fluorescence."""
    return any(
        limits is not None
        and not survey.channels[c].empty
        and survey.channels[c].percentile(_BACKGROUND) > sum(limits) / 2
        for c, limits in zip(look.channels, look.limits, strict=True)
    )


def _insists(survey: Survey, wanted: Wanted) -> bool:
    """Whether even channels are shown that seem to hold nothing but noise."""
    return wanted.limited or (wanted.cells and all(levels.empty for levels in survey.channels))


def _sparse(levels: Levels, low: float, high: float) -> float:
    """The level that is shown white where the usual one lies in the background's noise."""
    background = levels.percentile(_BACKGROUND)
    noise = background - levels.percentile(_BELOW_BACKGROUND)
    foreground = levels.above(background + _STANDS_OUT * noise)
    bright = foreground.percentile(_FOREGROUND) if foreground.pixels else high
    return bright if bright - high > _MIN_DIFFERENCE * (high - low) else high


def _dirty(levels: Levels, low: float, high: float) -> float:
    """The level that is shown white where the usual one lies in debris."""
    tail = levels.percentile(_TAIL)
    return tail if high - tail > _MIN_DIFFERENCE * (high - low) else high


def _filled(levels: Levels, low: float, high: float) -> float:
    """The level that is shown white where the brightest of all is no debris but cells."""
    return max((level for level in levels.fills if level > high), default=high)


def _limits(
    survey: Survey, channels: Sequence[int], method: Method, wanted: Wanted
) -> tuple[Limits, ...]:
    """The usual limits, or those that were given; of noise alone nothing is shown by itself."""
    if wanted.levels is not None:
        return (wanted.levels,) * len(channels)
    percentiles = wanted.percentiles or (method.low_percentile, method.high_percentile)
    return tuple(
        None
        if survey.channels[c].empty and wanted.channels is None and not _insists(survey, wanted)
        else limits_of(survey.channels[c], *percentiles)
        for c in channels
    )
