"""What run.json and the terminal tell of an image."""

import dataclasses
import math
from collections.abc import Iterator, Sequence

from ..look import Look
from ..normalise import Limits
from ..predict import Outcome
from .journal import FAILED, Record

_DIGITS = 9  # that are kept of a number: as many as 32-bit floats have
_FEW = 3  # channels whose limits are told in a line


def outcome_record(outcome: Outcome) -> Record:
    """What is known of an image that was segmented, as it stands in run.json."""
    record = dataclasses.asdict(outcome)
    del record["choice"], record["channel_names"]
    choice, names = outcome.choice, outcome.channel_names
    look, usual = choice.look, choice.usual
    record["look"] = {
        "channels": list(look.channels),
        **({"names": [names[c] for c in look.channels]} if names else {}),
        "empty": list(choice.empty),
        "limits": [pair and [_rounded(level) for level in pair] for pair in look.limits],
        "magnification": _rounded(look.magnification),
        "usual": look == usual,
        "gains": {part: _rounded(gain) for part, gain in choice.gains.items()},
    }
    if look != usual:
        record["note"] = describe(look, usual, names)
    return record


def messages(record: Record) -> Iterator[str]:
    """Lines for the terminal."""
    if "note" in record:
        yield f"{record['image']}: {record['note']}"
    for text in record.get("warnings", ()):  # none of an image that was never opened
        yield f"warning: {record['image']}: {text}"
    if record["status"] == FAILED:
        yield f"error: {record['error']}"


def describe(look: Look, usual: Look, names: Sequence[str]) -> str:
    """In what a look differs from the usual one, in a line.

    Args:
        names: of all channels of the image, or none.
    """
    parts = []
    if look.channels != usual.channels:
        shown = [f"{c} ({names[c]})" if names and names[c] else str(c) for c in look.channels]
        *others, last = shown
        both = f"{', '.join(others)} and {last}" if others else last
        parts.append(f"by channel{'s' if others else ''} {both}")
    before = dict(zip(usual.channels, usual.limits, strict=True))
    pairs = list(zip(look.channels, look.limits, strict=True))
    if any(pair != before.get(c) for c, pair in pairs):
        known = [_range(pair) for _, pair in pairs if pair is not None]
        told = "limits " + ", ".join(known) if 0 < len(known) <= _FEW else "other limits"
        parts.append(f"with {told}")
    if look.magnification != usual.magnification:
        parts.append(f"at {look.magnification / usual.magnification:.3g} times the usual size")
    return "shown " + ", ".join(parts)


def _range(pair: Limits) -> str:
    return " to ".join(f"{level:.5g}" for level in pair or ())


def _rounded(value: float) -> float | None:
    """JSON has no word for what is not finite."""
    return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
