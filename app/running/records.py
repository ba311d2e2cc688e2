"""What run.json and the terminal tell of an image."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from ..look import Look
from ..normalise import Limits
from ..outcome import Outcome
from ..trial import Choice
from .journal import FAILED, Record

_DIGITS = 9  # that are kept of a number: as many as 32-bit floats have
_FEW = 3  # channels whose limits are told in a line


def outcome_record(outcome: Outcome) -> Record:
    """What is known of an image that was segmented, as it stands in run.json.

    Of a stack there is a record for each plane in it.
    """
    record: Record = {
        key: getattr(outcome, key)
        for key in ("height", "width", "channels", "dtype", "pixel_size", "instances", "seconds")
    }
    if not outcome.planes:
        return record | _shown(outcome.choice, outcome.channel_names)
    grid = outcome.grid
    planes: list[Record] = []
    for plane, place in zip(outcome.planes, grid.positions, strict=True):
        about = {"plane": len(planes), "position": list(place), "instances": plane.instances}
        about |= _shown(plane.choice, outcome.channel_names)
        planes.append(about | ({"warnings": list(plane.warnings)} if plane.warnings else {}))
    note = _summary(outcome)
    record |= {"axes": grid.axes, "lengths": list(grid.lengths), "planes": planes}
    return record | ({"note": note} if note else {})


def _summary(outcome: Outcome) -> str:
    """How most planes of those are shown that are not shown as usual, in a line."""
    choices = [plane.choice for plane in outcome.planes]
    ways = Counter(
        describe(choice.look, choice.usual, outcome.channel_names, with_limits=False)
        for choice in choices
        if choice.look != choice.usual
    )
    if not ways:
        return ""
    (way, count), *others = ways.most_common()
    rest = sum(number for _, number in others)
    return f"{count} of {len(choices)} planes {way}" + (f"; {rest} in other ways" if rest else "")


def _shown(choice: Choice, names: Sequence[str]) -> Record:
    """How an image or a plane was shown; ``names`` as for ``describe``."""
    look, usual = choice.look, choice.usual
    about = {
        "channels": list(look.channels),
        **({"names": [names[c] for c in look.channels]} if names else {}),
        "empty": list(choice.empty),
        "limits": [pair and [_rounded(level) for level in pair] for pair in look.limits],
        "magnification": _rounded(look.magnification),
        "skipped": round(choice.skipped, 3),
        "usual": look == usual,
        "gains": {part: _rounded(gain) for part, gain in choice.gains.items()},
    }
    note = {"note": describe(look, usual, names)} if look != usual else {}
    return {"look": about, **note}


def messages(record: Record) -> Iterator[str]:
    """Lines for the terminal."""
    if "note" in record:
        yield f"{record['image']}: {record['note']}"
    for text in record.get("warnings", ()):  # none of an image that was never opened
        yield f"warning: {record['image']}: {_planes_of(text, record)}{text}"
    if record["status"] == FAILED:
        yield f"error: {record['error']}"


def _planes_of(warning: str, record: Record) -> str:
    """The planes of a stack that a warning is of, before its text."""
    numbers = [
        plane["plane"] for plane in record.get("planes", ()) if warning in plane.get("warnings", ())
    ]
    shown = ", ".join(map(str, numbers[:_FEW]))
    if len(numbers) > _FEW:
        shown += f" and {len(numbers) - _FEW} more"
    return f"plane{'s' if len(numbers) > 1 else ''} {shown}: " if numbers else ""


def describe(look: Look, usual: Look, names: Sequence[str], *, with_limits: bool = True) -> str:
    """In what a look differs from the usual one, in a line.

    Args:
        names: of all channels of the image, or none.
        with_limits: tell also which ones differ, not only that they do.
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
        known = [_range(pair) for _, pair in pairs if pair is not None and with_limits]
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
