"""Pieces of a file that come in any order and are written in theirs."""

from array import array
from collections.abc import Iterator
from typing import IO

import numpy as np


class Spool:
    """Keeps bytes in a scratch file, and gives them back by plane, and then by label.

    In memory are four numbers for each.

    Args:
        file: empty, open for reading and writing.

    Raises:
        OSError: the disk is full; so do the methods.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._index = array("q")
        self._end = 0

    def add(self, plane: int, label: int, piece: bytes) -> None:
        """Keep a piece."""
        self._index.extend((plane, label, self._end, len(piece)))
        self._end += self._file.write(piece)

    def __iter__(self) -> Iterator[tuple[int, int, bytes]]:
        """Plane, label and piece, once all were added."""
        index = np.array(self._index, np.int64).reshape(-1, 4)
        for place in np.lexsort((index[:, 1], index[:, 0])):
            plane, label, start, size = index[place].tolist()
            self._file.seek(start)
            yield plane, label, self._file.read(size)
