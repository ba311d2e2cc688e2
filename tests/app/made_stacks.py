"""Stacks of planes, and a look to show them in."""

from typing import Any

import numpy as np
import tifffile

from app.ground import Ground
from app.look import Look
from tests.app.command_line import IMAGE


def planes(count: int) -> np.ndarray:
    """(count, 48, 56) uint8 of which none has the same cells as its neighbours."""
    found = np.random.default_rng(0).integers(20, 25, (count, *IMAGE.shape), dtype=np.uint8)
    for number, plane in enumerate(found):
        if number % 3 < 2:
            plane[2:18, 2:22] = 220
        if number % 3 != 1:
            plane[6 : 20 + number, 22:42] = 200
    return found


def write_ome(path, image, axes, **more) -> None:
    options: dict[str, Any] = {"ome": True, "photometric": "minisblack", "compression": "zlib"}
    tifffile.imwrite(path, image, metadata={"axes": axes}, **(options | more))


SHAPED = planes(6).reshape(2, 3, *IMAGE.shape)
GROUND = Ground(np.ones((1, 1), bool))
LOOK = Look((0,), ((5.0, 90.0),), 1.4)
