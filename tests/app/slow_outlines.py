"""Outlines pixel by pixel, and the way back, to compare the fast ones with."""

import numpy as np
import shapely
from scipy import ndimage


def slow_outline(mask: np.ndarray) -> list[list[list[tuple[int, int]]]]:
    """Each part's rings, the largest first: sides of pixels, joined around the ground's pixels."""
    parts, count = ndimage.label(mask)
    outline = []
    for number in range(1, count + 1):
        part = np.pad(parts == number, 1)
        rings = rings_of(part)
        rings.sort(key=lambda ring: -abs(area(ring)))
        outline.append([[(x - 1, y - 1) for x, y in ring] for ring in rings])
    return outline


def rings_of(part: np.ndarray) -> list[list[tuple[int, int]]]:
    """The rings of corners around a part that hangs together; the part is left of each step."""
    starts: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for y, x in np.argwhere(part).tolist():
        corners = [(x, y), (x + 1, y), (x + 1, y + 1), (x, y + 1)]
        others = [(y - 1, x), (y, x + 1), (y + 1, x), (y, x - 1)]
        for k, other in enumerate(others):
            if not part[other]:
                starts.setdefault(corners[k], []).append(corners[(k + 1) % 4])
    rings = []
    while starts:
        first = point = next(iter(starts))
        ring, step = [], None
        while True:
            following = starts[point]
            steps = [(x - point[0], y - point[1]) for x, y in following]
            # Where two sides go on, the one that turns away from the part.
            away = [k for k, (x, y) in enumerate(steps) if step and step[0] * y - step[1] * x < 0]
            taken = away[0] if len(following) > 1 and away else 0
            if step != steps[taken]:
                ring.append(point)
            step = steps[taken]
            target = following.pop(taken)
            if not following:
                del starts[point]
            point = target
            if point == first:
                break
        if len(ring) > 1 and is_straight(ring[-1], ring[0], ring[1]):
            ring.pop(0)
        rings.append(ring)
    return rings


def is_straight(a, b, c) -> bool:
    return a[0] == b[0] == c[0] or a[1] == b[1] == c[1]


def area(ring) -> float:
    """Of a ring of corners, by the shoelace formula, with a sign."""
    pairs = zip(ring, [*ring[1:], ring[0]], strict=True)
    return sum(x * next_y - next_x * y for (x, y), (next_x, next_y) in pairs) / 2


def canonical(outline) -> list:
    """An outline so that it can be compared: without the last corners, which are the first."""
    return sorted(tuple(sorted(turned(ring) for ring in part)) for part in outline)


def turned(ring) -> tuple:
    """A ring of corners from the smallest one on, in the direction that comes first."""
    corners = [tuple(map(int, corner)) for corner in ring]
    start = corners.index(min(corners))
    there = corners[start:] + corners[:start]
    return min(tuple(there), (there[0], *there[:0:-1]))


def pixels_in(geometry: shapely.Geometry, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels whose middles are in a geometry."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    return shapely.contains_xy(geometry, x, y)
