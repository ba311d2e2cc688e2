"""Tables in Markdown."""

from collections.abc import Iterable, Sequence


def head(titles: Sequence[object]) -> str:
    """The first two lines of a table."""
    return line(titles) + "\n" + line(["---"] * len(titles))


def line(cells: Iterable[object]) -> str:
    """A line of a table."""
    return "| " + " | ".join(map(str, cells)) + " |"
