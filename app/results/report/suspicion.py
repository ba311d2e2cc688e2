"""Which images are to be looked at first, and why."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from .gather import Entry
from .text import short

_FEWEST = 5  # images that show what is usual in a run
_FAR = 3.5  # deviations from the median of the images
# Deviations are no less than these, so that alike images don't make small differences suspicious:
# of the logarithm of counts and areas (3.5 of them are a factor of 2), and of scores.
_LEAST_LOG, _LEAST_SCORE = 0.2, 0.03
_LOW_SCORE = 0.55  # of the median cell: low in any run
_MANY_AT_EDGE, _FEWEST_AT_EDGE = 0.5, 5  # share of the cells, and their number
# How much each counts; what is far from the median, from 1 to 3.
_NO_CELL, _WARNING, _LOW, _AT_EDGE, _UNUSUAL = 5.0, 1.5, 1.5, 1.0, 0.5
_MOST = 3.0
TO_LOOK_AT = 1.0  # from which sum on


class Reason(NamedTuple):
    """Why an image is suspicious."""

    weight: float
    text: str


def judge(entries: Sequence[Entry]) -> list[list[Reason]]:
    """The reasons to look at each image, the weightiest first; none of those that failed."""
    usual_count = _usual(entries, _log_count, _LEAST_LOG)
    usual_area = _usual(entries, _log_area, _LEAST_LOG)
    usual_score = _usual(entries, lambda entry: entry.median_score, _LEAST_SCORE)
    found = []
    for entry in entries:
        reasons = []
        if entry.is_done:
            reasons = [
                *_of_count(entry, usual_count),
                *_of_area(entry, usual_area),
                *_of_scores(entry, usual_score),
                *_of_edge(entry),
                *(Reason(_WARNING, text) for text in entry.warnings),
            ]
            if entry.note:
                reasons.append(Reason(_UNUSUAL, entry.note))
        found.append(sorted(reasons, key=lambda reason: -reason.weight))
    return found


class _Usual(NamedTuple):
    """What is usual in a run."""

    median: float
    deviation: float

    def weight(self, value: float) -> float:
        """0 of what is near the median, 1 to 3 of what is far from it."""
        far = abs(value - self.median) / (_FAR * self.deviation)
        return min(far, _MOST) if far >= 1 else 0.0


def _usual(
    entries: Sequence[Entry], value_of: Callable[[Entry], float], least: float
) -> _Usual | None:
    """The median and the deviation of a value; None of too few images."""
    values = np.array([value_of(entry) for entry in entries if entry.is_done])
    values = values[np.isfinite(values)]
    if len(values) < _FEWEST:
        return None
    median = float(np.median(values))
    return _Usual(median, max(1.4826 * float(np.median(np.abs(values - median))), least))


def _log_count(entry: Entry) -> float:
    return math.log(entry.count) if entry.count else math.nan


def _log_area(entry: Entry) -> float:
    return math.log(entry.median_area) if entry.median_area > 0 else math.nan


def _of_count(entry: Entry, usual: _Usual | None) -> list[Reason]:
    if not entry.count:
        return [Reason(_NO_CELL, "no cell")]
    weight = usual.weight(_log_count(entry)) if usual else 0.0
    if not usual or not weight:
        return []
    few = "few" if math.log(entry.count) < usual.median else "many"
    median = round(math.exp(usual.median))
    return [Reason(weight, f"{few} cells: {entry.count:,}, in most images about {median:,}")]


def _of_area(entry: Entry, usual: _Usual | None) -> list[Reason]:
    weight = usual.weight(_log_area(entry)) if usual else 0.0  # NaN is near
    if not usual or not weight:
        return []
    small = "small" if _log_area(entry) < usual.median else "large"
    here, there = (short(area) for area in (entry.median_area, math.exp(usual.median)))
    return [Reason(weight, f"{small} cells: {here} {entry.unit}, in most images about {there}")]


def _of_scores(entry: Entry, usual: _Usual | None) -> list[Reason]:
    here = entry.median_score
    weight = _LOW if here < _LOW_SCORE else 0.0
    if usual and here < usual.median:
        weight = max(weight, usual.weight(here))
    if not weight:
        return []
    others = f", in most images about {usual.median:.2f}" if usual else ""
    return [Reason(weight, f"low scores: median {here:.2f}{others}")]


def _of_edge(entry: Entry) -> list[Reason]:
    if entry.at_edge < _FEWEST_AT_EDGE or entry.at_edge <= _MANY_AT_EDGE * entry.count:
        return []
    share = entry.at_edge / entry.count
    return [Reason(_AT_EDGE, f"many cells at the edge: {entry.at_edge:,} ({share:.0%})")]
