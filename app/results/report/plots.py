"""Histograms, as SVG."""

import math

import numpy as np
from numpy.typing import NDArray

from .text import short, text

_WIDTH, _HEIGHT, _FOOT, _HEAD = 360, 150, 24, 8  # units of the drawing
_BINS, _FINE_BINS = 24, 40
_MOST_TICKS = 6


def histogram(values: NDArray[np.floating], title: str, unit: str = "", scale: str = "") -> str:
    """A figure with a histogram and its median in words; "" if there is nothing to show.

    Args:
        values: (N,); what is not finite is left out, and of a logarithmic one what is not positive.
        title: of the figure.
        unit: of the values.
        scale: of the axis: "log", "whole" for numbers that are counted, or "" for others.
    """
    shown = values[np.isfinite(values)].astype(np.float64)
    if scale == "log":
        shown = shown[shown > 0]
    if not len(shown):
        return ""
    edges = _edges(float(shown.min()), float(shown.max()), scale)
    counts, _ = np.histogram(shown, edges)
    low, middle, high = np.percentile(shown, [25, 50, 75])
    unit = f" {unit}" if unit else ""
    words = f"median {short(middle)}{unit}, half of all {short(low)} to {short(high)}"
    places = _place(edges, edges, scale)
    bars = []
    for count, start, end, left, right in zip(
        counts.tolist(), edges, edges[1:], places, places[1:], strict=False
    ):
        if count:
            height = max(1.0, count / counts.max() * (_HEIGHT - _FOOT - _HEAD))
            about = f"{_range(start, end, scale)}{unit}: {count:,}"
            bars.append(
                f'<rect x="{left + 0.75:.1f}" y="{_HEIGHT - _FOOT - height:.1f}" '
                f'width="{max(right - left - 1.5, 1):.1f}" height="{height:.1f}">'
                f"<title>{text(about)}</title></rect>"
            )
    ticks = _ticks(edges, scale)
    names = []
    for tick, place in zip(ticks, _place(np.array(ticks), edges, scale).tolist(), strict=True):
        anchor = "start" if place < 12 else "end" if place > _WIDTH - 12 else "middle"
        names.append(
            f'<text x="{place:.1f}" y="{_HEIGHT - 7}" text-anchor="{anchor}">{short(tick)}</text>'
        )
    return (
        f"<figure><h3>{text(title)}</h3>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{text(title)}: '
        f'{text(words)}"><g class="bars">{"".join(bars)}</g>'
        f'<path class="axis" d="M0 {_HEIGHT - _FOOT + 0.5}H{_WIDTH}"/>'
        f'<g class="ticks">{"".join(names)}</g></svg>'
        f"<figcaption>{text(words)}</figcaption></figure>"
    )


def _edges(low: float, high: float, scale: str) -> NDArray[np.float64]:
    """Of the bins: all values are in one."""
    if scale == "log":
        # Whole fractions of a power of ten around what there is, wide enough to be told apart.
        low, high = math.log10(low), math.log10(high)
        if high - low < 0.1:
            low, high = low - 0.05, high + 0.05
        return np.asarray(np.logspace(low, high + 1e-9, _BINS + 1), np.float64)
    if scale == "whole":
        width = max(1, math.ceil((high - low + 1) / _BINS))
        start = math.floor(low / width) * width
        bins = max(5, math.floor((high - start) / width) + 1)
        return np.asarray(start - 0.5 + width * np.arange(bins + 1), np.float64)
    step = _nice((high - low) / _FINE_BINS) if high > low else 0.01
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return np.asarray(step * np.arange(first, max(last, first + 1) + 1), np.float64)


def _place(
    values: NDArray[np.float64], edges: NDArray[np.float64], scale: str
) -> NDArray[np.float64]:
    """Where values are along the axis."""
    if scale == "log":
        values, edges = np.log10(values), np.log10(edges)
    return np.asarray((values - edges[0]) / (edges[-1] - edges[0]) * _WIDTH, np.float64)


def _ticks(edges: NDArray[np.float64], scale: str) -> list[float]:
    low, high = float(edges[0]), float(edges[-1])
    if scale == "log":
        powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        for steps in ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [n * 10.0**power for power in powers for n in steps]
            found = [tick for tick in found if low <= tick <= high]
            if len(found) <= _MOST_TICKS:
                break
        return found or [low]
    step = _nice((high - low) / _MOST_TICKS)
    if scale == "whole":
        step = max(step, 1.0)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * n for n in range(first, last + 1)]


def _nice(step: float) -> float:
    """The first of 1, 2, 5, 10 and so on that is no smaller."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= step * (1 - 1e-9))


def _range(start: float, end: float, scale: str) -> str:
    if scale == "whole":
        first, last = math.ceil(start), math.floor(end)
        return f"{first:,}" if first == last else f"{first:,} to {last:,}"
    return f"{short(start)} to {short(end)}"
