"""What the numbers of the method are judged by: F1 over images, and over sources of images.

A source counts as much in the second as any other, however many images there are of it, for the
images that nobody has seen come from sources that nobody has seen.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean
from typing import NamedTuple

# Of the second there need be none.
SPLITS = ("val", "probe")
MIN_IMAGES = 3  # of a source of ``val`` that counts by itself


class Scored(NamedTuple):
    """The F1 of an image, and where the image comes from."""

    split: str
    source: str
    modality: str
    f1: float


def judge(rows: Sequence[Scored]) -> dict[str, float]:
    """Mean F1 over images and over sources.

    Args:
        rows: of all images of ``SPLITS``, some of ``val`` among them.

    Returns:
        "judged", what is to be highest: the mean of "images", over those of ``val``, and of
        "sources", over the groups of both splits (``by_source``).
    """
    images = fmean(row.f1 for row in rows if row.split == "val")
    groups = [group for split in SPLITS for group in by_source(rows, split).values()]
    sources = fmean(map(fmean, groups))
    return {"judged": (images + sources) / 2, "images": images, "sources": sources}


def by_source(rows: Sequence[Scored], split: str) -> dict[str, list[float]]:
    """F1 of the images of a split, by source.

    Those of a source of ``val`` with too few to tell much are put together by modality.
    """
    sources: dict[str, list[Scored]] = defaultdict(list)
    for row in rows:
        if row.split == split:
            sources[row.source].append(row)
    few = {s for s, some in sources.items() if split == "val" and len(some) < MIN_IMAGES}
    return grouped(
        (f"few of {row.modality}" if source in few else source, row.f1)
        for source, some in sources.items()
        for row in some
    )


def grouped(scores: Iterable[tuple[str, float]]) -> dict[str, list[float]]:
    """Scores by group, the groups in alphabetical order.

    Args:
        scores: the name of a group, such as a modality, and a score.
    """
    groups: dict[str, list[float]] = defaultdict(list)
    for group, score in scores:
        groups[group].append(score)
    return dict(sorted(groups.items()))


def group_means(scores: Iterable[tuple[str, float]]) -> dict[str, float]:
    """The mean score of each group; arguments and order as of ``grouped``."""
    return {group: fmean(values) for group, values in grouped(scores).items()}
