"""Colours that tell neighbouring cells apart, and the lines around cells in them."""

import numpy as np
from numpy.typing import NDArray

# RGB; each as far from black as from white (contrast of 3.3 to 6.3 by WCAG), so that a line of one
# pixel is seen on bright ground and on dark.
PALETTE = np.array(
    [
        (230, 50, 45),
        (20, 110, 255),
        (0, 140, 60),
        (220, 110, 0),
        (190, 50, 230),
        (0, 140, 150),
        (235, 30, 140),
        (130, 120, 0),
    ],
    np.uint8,
)
_NEAR = 6  # pixels: cells that are no farther apart get different colours


def choose_colours(labels: NDArray[np.integer], count: int) -> NDArray[np.uint8]:
    """A colour for each cell, which none near it has.

    Only a cell with neighbours in all eight colours shares one with some of them. All colours are
    used about as often.

    Args:
        labels: (H, W), 1 to ``count`` are the cells.
        count: of the cells, N.

    Returns:
        (N + 1, 3) uint8 RGB by label; that of the background is of no use.
    """
    first, second = _near(labels, count).T
    ends = np.searchsorted(first, np.arange(count + 2)).tolist()
    others = second.tolist()
    chosen = [0] * (count + 1)
    used = [0] * len(PALETTE)
    for cell in range(1, count + 1):
        # Near ones that come later have none yet.
        taken = {chosen[other] for other in others[ends[cell] : ends[cell + 1]] if other < cell}
        free = [colour for colour in range(len(PALETTE)) if colour not in taken]
        colour = min(free or range(len(PALETTE)), key=used.__getitem__)
        chosen[cell] = colour
        used[colour] += 1
    return PALETTE[chosen]


def find_lines(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """The outermost pixels of each cell.

    Args:
        labels: (H, W), 0 is background; it counts as such outside, too.

    Returns:
        (H, W) bool.
    """
    framed = np.pad(labels, 1)
    inner = np.ones(labels.shape, bool)
    for other in (framed[:-2, 1:-1], framed[2:, 1:-1], framed[1:-1, :-2], framed[1:-1, 2:]):
        inner &= other == labels
    return ~inner & (labels > 0)


def _near(labels: NDArray[np.integer], count: int) -> NDArray[np.int64]:
    """(P, 2) pairs of cells that are near each other, each pair both ways, sorted."""
    height, width = labels.shape
    found = [np.zeros(0, np.int64)]
    for distance in range(1, _NEAR + 1):
        for down, across in ((0, 1), (1, 0), (1, 1), (1, -1)):
            dy, dx = down * distance, across * distance
            one = labels[: max(height - dy, 0), max(-dx, 0) : max(width - max(dx, 0), 0)]
            two = labels[dy:, max(dx, 0) : max(width + min(dx, 0), 0)]
            differ = (one != two) & (one > 0) & (two > 0)
            pairs = one[differ].astype(np.int64) * (count + 1) + two[differ]
            found.append(np.unique(pairs))
    pairs = np.unique(np.concatenate(found))
    one_way = np.stack(np.divmod(pairs, count + 1), 1)
    both = np.concatenate((one_way, one_way[:, ::-1]))
    return np.asarray(np.unique(both, axis=0), np.int64)
