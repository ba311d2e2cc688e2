"""The look in which the detector is surest, found by trying some on a part of the image."""

import logging
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .detect import Boxes, detect, share_skipped
from .files.arrays import Pixels
from .ground import Ground, ground_of
from .levels import CELL, Survey
from .look import (
    Look,
    Wanted,
    is_bright,
    other_channels,
    other_limits,
    other_magnifications,
    usual_look,
)
from .normalise import Normalised
from .session import Run
from .settings import Method

logger = logging.getLogger(__name__)

Region = tuple[int, int, int, int]  # y0, x0, y1, x1, pixels of the image

_LARGE_SHARE = 0.01  # of a large image's pixels that the detector gets for a trial
_SMOOTHING = 5.0  # added to sums of scores, so that hardly anything is not far more than nothing
_UNKNOWN_SCORE = 0.5  # stands for the mean score where nothing is found
_FEW = 3  # cells that say too little of what area they should cover


class Choice(NamedTuple):
    """A look, and why it was chosen.

    usual: how the image would be shown if no other way were better.
    empty: the channels that hold nothing, or nothing but noise.
    gains: by how much surer the detector was of each part of the look that isn't usual, of
        "channels", "limits" and "magnification".
    found: the boxes and scores of the whole image in this look, if that was tried as a whole.
    ground: where the image is full in this look.
    skipped: the share of the windows' pixels that lie on empty ground.
    """

    look: Look
    usual: Look
    empty: tuple[int, ...]
    gains: dict[str, float]
    found: Boxes | None
    ground: Ground
    skipped: float


def choose_look(image: Pixels, survey: Survey, run: Run, method: Method, wanted: Wanted) -> Choice:
    """The way of showing an image in which the detector is surest.

    Each way is compared with the best before it by the sum of score² times √area over the boxes in
    the same region, and by their mean score. Enlarging is tried only where the detector is unsure
    or cells are small, and never for a colour picture: there it finds what is no cell.

    Args:
        image: (H, W, C), any integer or float dtype.
        survey: of this image.
        run: the detector, as ``detect`` wants it.
        method: every number on the way; ``look_pixels`` 0 takes the usual way.
        wanted: what is not to be chosen.
    """
    usual = look = usual_look(survey, method, wanted)
    empty = tuple(c for c, levels in enumerate(survey.channels) if levels.empty)
    if not method.look_pixels or not look.channels:
        return Choice(usual, usual, empty, {}, None, *_ground(image, survey, usual, method))
    trial = _Trial(image, survey, run, method, usual)
    if wanted.channels is None:
        others = other_channels(look, survey, method, wanted)
        look = trial.surest(look, others, method.channel_margin)
    gains = trial.gain(usual, look, "channels")
    before = look
    if not wanted.limited:
        look = trial.surest(look, other_limits(look, survey), method.limits_margin)
    gains |= trial.gain(before, look, "limits")
    before = look
    if not wanted.magnified:
        smaller = [factor for factor in method.magnifications if factor < 1]
        larger = [factor for factor in method.magnifications if factor > 1]
        look = trial.surest(before, other_magnifications(before, smaller))
        coloured = len(look.channels) > 1 and is_bright(look, survey)
        if not coloured and not trial.is_sure(before):
            # A large image would take several times as long.
            margin = 0.0 if trial.region == trial.whole else method.large_margin
            look = trial.surest(look, other_magnifications(before, larger), margin)
    gains |= trial.gain(before, look, "magnification")
    found, ground = trial.of_whole(look), _ground(image, survey, look, method)
    return Choice(look, usual, empty, gains, found, *ground)


def known_boxes(choice: Choice, given: NDArray[np.float32] | None) -> Boxes | None:
    """The boxes and scores that need no detecting: given ones (their scores are NaN), none where
    nothing is shown, or what the look has found; None where they are to be detected.

    Args:
        choice: of the image.
        given: (N, 4) xyxy; None where cells are to be found.
    """
    if given is not None:
        return given, np.full(len(given), np.nan, np.float32)
    if not choice.look.channels:
        logger.warning("nothing stands out of the noise: no cell is looked for")
        return np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
    return choice.found


def _ground(image: Pixels, survey: Survey, look: Look, method: Method) -> tuple[Ground, float]:
    """Where an image is full, and the share of it that is skipped."""
    ground = ground_of(survey, look, method.min_content)
    return ground, share_skipped(image, look.magnification, method, ground)


class _Trial:
    """What the detector finds in parts of one image, shown in one way or another."""

    def __init__(
        self, image: Pixels, survey: Survey, run: Run, method: Method, usual: Look
    ) -> None:
        self.image, self.survey, self.run, self.method = image, survey, run, method
        self.usual = usual
        height, width = image.shape[:2]
        self.whole: Region = (0, 0, height, width)
        detected = height * width * usual.magnification**2
        self.pixels = max(method.look_pixels, _LARGE_SHARE * detected)
        # What fits into one window is seen in the usual way as a whole, since that may be kept.
        fits = max(height, width) * usual.magnification <= method.window
        self.region = self.whole if fits else self._part(self.whole, usual.magnification)
        self.found: dict[Look, tuple[Region, Boxes]] = {}

    def surest(self, look: Look, others: Iterable[Look], margin: float = 0.0) -> Look:
        """The best of some ways.

        Args:
            look: is kept unless another is better by the margin.
        """
        best = look
        for other in others:
            if self._gain(best, other) > (margin if best == look else 0.0):
                best = other
        return best

    def gain(self, before: Look, after: Look, what: str) -> dict[str, float]:
        """By how much surer the detector is of what has changed; nothing where that hasn't."""
        return {what: self._gain(before, after)} if before != after else {}

    def is_sure(self, look: Look) -> bool:
        """Whether the detector is sure of cells that are no smaller than those it knows well."""
        boxes, scores = self._detect(look)[1]
        if not len(scores):
            return False
        size = float(np.median(_sizes(boxes))) * look.magnification
        return size >= self.method.sure_size and float(scores.mean()) >= self.method.sure_score

    def of_whole(self, look: Look) -> Boxes | None:
        """What was found, if that was in the whole image."""
        region, boxes = self.found.get(look, (None, None))
        return boxes if region == self.whole else None

    def _gain(self, look: Look, other: Look) -> float:
        """How much surer the detector is of another look; minus infinity where that can't be."""
        method = self.method
        # Of two parts the one lies in the other.
        region = min((self._detect(each)[0] for each in (other, look)), key=_area)
        before, after = (self._inside(each, region) for each in (look, other))
        if not len(after[1]):
            return -math.inf
        growth = math.log(other.magnification / look.magnification)
        (sizes, certain, mean), (new_sizes, new_certain, new_mean) = map(
            _summarise, (before, after)
        )
        if new_mean < method.min_look_score:
            return -math.inf
        if growth > 0 and np.median(new_sizes) * other.magnification < method.min_look_size:
            return -math.inf
        if len(sizes) >= _FEW and (new_sizes**2).sum() > method.max_look_growth * (sizes**2).sum():
            return -math.inf
        return (
            math.log(new_certain / certain)
            + method.look_score_weight * (new_mean - mean)
            - method.look_enlarged_penalty * max(growth, 0.0)
            - method.look_few_penalty / math.sqrt(max(len(sizes), len(new_sizes)))
        )

    def _inside(self, look: Look, region: Region) -> Boxes:
        """The boxes that have their middle in a region."""
        boxes, scores = self._detect(look)[1]
        y0, x0, y1, x1 = region
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        good = (middle >= [x0, y0]).all(1) & (middle <= [x1, y1]).all(1)
        return boxes[good], scores[good]

    def _detect(self, look: Look) -> tuple[Region, Boxes]:
        """The part that a look is tried on, and what is found in it, in pixels of the image."""
        if look not in self.found:
            region = self._region(look)
            y0, x0, y1, x1 = region
            shown = Normalised(self.image[y0:y1, x0:x1], look.limits, look.channels)
            # Of a look that may not be taken nothing is said.
            boxes, scores = detect(
                shown, self.run, self.method, magnification=look.magnification, warn=False
            )
            offset = np.array([x0, y0, x0, y0], np.float32)
            self.found[look] = region, (boxes + offset, scores)
        return self.found[look]

    def _region(self, look: Look) -> Region:
        """Where a look is tried: of any two of these parts the one lies in the other."""
        region = self.region
        if look == self.usual:
            return region
        for factor in sorted({1.0, *self.method.magnifications}):
            magnification = factor * self.usual.magnification
            if magnification <= look.magnification:
                region = self._part(region, magnification)
        return region

    def _part(self, region: Region, magnification: float) -> Region:
        """The part of a region that holds most, of no more pixels than may be tried."""
        y0, x0, y1, x1 = region
        # What is enlarged gets more pixels, for it shows less with as many.
        area = self.pixels / (magnification * self.usual.magnification)
        if (y1 - y0) * (x1 - x0) <= area:
            return region
        height = min(y1 - y0, max(CELL, round(math.sqrt(area))))
        width = min(x1 - x0, max(CELL, round(area / height)))
        height = min(y1 - y0, max(CELL, round(area / width)))
        sums = np.pad(np.minimum(self.survey.content, 1.0).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        ys = np.unique([*range(y0, y1 - height, CELL), y1 - height])[:, None]
        xs = np.unique([*range(x0, x1 - width, CELL), x1 - width])[None]
        top, left, bottom, right = ys // CELL, xs // CELL, ys + height, xs + width
        bottom, right = -(-bottom // CELL), -(-right // CELL)
        held = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
        row, column = np.unravel_index(int(held.argmax()), held.shape)
        y, x = int(ys[row, 0]), int(xs[0, column])
        return y, x, y + height, x + width


def _area(region: Region) -> int:
    y0, x0, y1, x1 = region
    return (y1 - y0) * (x1 - x0)


def _sizes(boxes_xyxy: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) square roots of the areas of (N, 4) boxes."""
    return np.asarray(np.sqrt((boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).prod(1)))


def _summarise(found: Boxes) -> tuple[NDArray[np.float32], float, float]:
    """Sizes, the sum of score² times size, and the mean score of some boxes."""
    boxes, scores = found
    sizes = _sizes(boxes)
    mean = float(scores.mean()) if len(scores) else _UNKNOWN_SCORE
    return sizes, float((scores**2 * sizes).sum()) + _SMOOTHING, mean
