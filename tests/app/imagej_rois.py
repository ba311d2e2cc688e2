"""ROIs as ImageJ 1.53 reads and fills them, to compare with what was written.

After RoiDecoder, ShapeRoi and PolygonFiller: which 16-bit numbers are negative, how composite ROIs
are kept, and that a pixel is inside if its middle is.
"""

import struct
from dataclasses import dataclass

import numpy as np

POLYGON, RECT, TRACED = 0, 1, 8


@dataclass
class Roi:
    name: str
    kind: int
    rings: list[np.ndarray]
    position: int
    place: tuple[int, int, int]
    """Channel, z and t from 1; 0 is any."""


def _short(data: bytes, place: int) -> int:
    (number,) = struct.unpack_from(">h", data, place)
    return number + 2**16 if number < -5000 else number


def decode(data: bytes) -> Roi:
    assert data[:4] == b"Iout" and _short(data, 4) >= 218
    kind, top, left = data[6], _short(data, 8), _short(data, 10)
    (size,) = struct.unpack_from(">i", data, 36)
    assert (kind == RECT) == (size > 0)
    if size:
        rings = _rings(np.frombuffer(data, ">f4", size, 64).tolist())
    else:
        (count,) = struct.unpack_from(">H", data, 16)
        along = [_short(data, 64 + 2 * n) for n in range(2 * count)]
        corners = np.reshape([max(number, 0) for number in along], (2, count))
        rings = [np.add(corners.T, (left, top))]
    position, more = struct.unpack_from(">ii", data, 56)
    channel, z, t, start, length = struct.unpack_from(">5i", data, more + 4)
    name = data[start : start + 2 * length].decode("utf-16-be")
    return Roi(name, kind, rings, position, (channel, z, t))


def _rings(path: list[float]) -> list[np.ndarray]:
    rings: list[list[list[float]]] = []
    place = 0
    while place < len(path):
        step = path[place]
        assert step in (0, 1, 4)
        if step == 0:  # a ring starts
            rings.append([])
        if step != 4:  # that is to the start
            rings[-1].append(path[place + 1 : place + 3])
        place += 1 if step == 4 else 3
    return [np.array(ring) for ring in rings]


def fill(roi: Roi, left: int, top: int, shape: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: the pixels of a part of an image that are inside, by the even-odd rule."""
    mask = np.zeros(shape, bool)
    sides = np.concatenate([np.hstack((ring, np.roll(ring, -1, 0))) for ring in roi.rings])
    low, high = sides[:, [1, 3]].min(1), sides[:, [1, 3]].max(1)
    for row in range(shape[0]):
        middle = top + row + 0.5
        x, y, next_x, next_y = sides[(low <= middle) & (middle < high)].T
        crossings = np.sort(x + (middle - y) * (next_x - x) / (next_y - y))
        for start, end in zip(crossings[::2], crossings[1::2], strict=True):
            first, last = (int(np.floor(x - left + 0.5)) for x in (start, end))
            mask[row, max(first, 0) : max(last, 0)] = True
    return mask
