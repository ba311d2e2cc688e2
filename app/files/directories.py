"""The pages of a TIFF file, which point to one another: followed before anything relies on them."""

import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .arrays import ImageError

_MAX_PAGES = 10_000
_MAX_TAGS = 4096  # of a page
_MAX_DESCRIPTION = 2**26  # bytes
# A page that was cut off began within this many sizes of what is left, and this many bytes.
_MAX_LEAP, _MIN_LEAP = 2, 2**16
_LAST_TYPE = 18  # of a tag's values, as TIFF and BigTIFF number them
_SHORT = 3  # one of these types
_WIDTH, _HEIGHT, _BITS, _DESCRIPTION, _NDPI = 256, 257, 258, 270, 65420  # tags
_MAX_BITS, _LIKELY_BITS = 64, (1, 8, 16, 32, 64)


@dataclass(frozen=True)
class Chain:
    """What the pages of a file's main chain are found to be.

    Attributes:
        pages: how many can be read.
        description: of the first page, or empty.
        is_ndpi: whether pointers have 64 bits in a file that is no BigTIFF.
        fault: what is wrong with the last page's pointer to a next one, or "".
        cut: whether the fault may come from a file that was cut short.
        patches: where bytes are wrong, and the right ones.
    """

    pages: int
    description: bytes
    is_ndpi: bool
    fault: str
    cut: bool
    patches: tuple[tuple[int, bytes], ...]


class MendedFile(io.FileIO):
    """A TIFF file as it should be: no page follows the last one, and its bits are what they are."""

    def __init__(self, path: Path, chain: Chain) -> None:
        super().__init__(path)
        self.patches = chain.patches

    def read(self, size: int | None = -1, /) -> bytes:
        place = self.tell()
        data = super().read(size) or b""
        wanted = len(data) if size is None or size < 0 else size
        for start, right in self.patches:
            first = start - place
            # The file may end where the pointer should be.
            if 0 <= first < wanted and first <= len(data):
                data = (data[:first] + right + data[first + len(right) :])[:wanted]
        return data


@dataclass(frozen=True)
class _Layout:
    """How numbers are written in a TIFF file."""

    order: str
    count: str
    entry: int  # bytes of a tag
    pointer: str

    def number(self, data: bytes, kind: str, start: int = 0) -> int:
        return int(struct.unpack_from(self.order + kind, data, start)[0])

    def value(self, tags: bytes, start: int) -> tuple[int, int]:
        """How many values a tag has, and where they, or their place in the file, begin."""
        wide = self.count == "Q"
        return self.number(tags, self.count if wide else "I", start + 4), start + 8 + 4 * wide


def follow(path: Path) -> Chain:
    """Follow the pages' pointers, which may form a loop or lead out of the file.

    Raises:
        ImageError: there are too many pages.
        ValueError, struct.error: the first page is not there.
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        layout, offset, is_ndpi = _read_header(file, path.suffix.lower() == ".ndpi")
        tags = _read_tags(file, layout, offset)
        if tags is None:
            raise ValueError("no page where the first one should be")
        first_tags, description = tags, _read_description(file, layout, tags)
        seen: set[int] = set()
        patches: list[tuple[int, bytes]] = []
        fault, cut = "", False
        start = struct.calcsize(layout.order + layout.count)
        length = struct.calcsize(layout.order + layout.pointer)
        while True:
            seen.add(offset)
            if len(seen) > _MAX_PAGES:
                raise ImageError(
                    f"{path}: more than {_MAX_PAGES} pages are not supported; export those wanted"
                )
            patches += _right_bits(file, layout, tags, offset + start)
            place = offset + start + len(tags)
            file.seek(place)
            data = file.read(length)
            offset = layout.number(data, layout.pointer) if len(data) == length else -1
            if not offset:
                break
            if offset < 0:
                fault = "is missing"
            elif offset in seen:
                fault = "leads back to a page before it"
            else:
                following = _read_tags(file, layout, offset)
                if following is not None:
                    tags = following
                    continue
                fault, cut = "leads to no page", _is_cut(file, layout, offset, size)
            patches.append((place, bytes(length)))
            break
        if cut and _description_end(layout, first_tags) > size:
            raise ValueError("its description is cut off")
    return Chain(len(seen), description, is_ndpi, fault, cut, tuple(patches))


def first_description(path: Path) -> bytes:
    """The description of a TIFF file's first page; empty where there is none.

    Raises:
        OSError: the file can't be read.
    """
    with path.open("rb") as file:
        try:
            layout, offset, _ = _read_header(file, is_named_ndpi=False)
            tags = _read_tags(file, layout, offset)
            return _read_description(file, layout, tags) if tags else b""
        except (struct.error, ValueError):
            return b""


def _read_header(file: BinaryIO, is_named_ndpi: bool) -> tuple[_Layout, int, bool]:
    """How numbers are written, where the first page is, and whether it is of NDPI."""
    file.seek(0)
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    if head[2:4] in (b"+\0", b"\0+"):
        layout = _Layout(order, "Q", 20, "Q")
        return layout, layout.number(head, "Q", 8), False
    layout = _Layout(order, "H", 12, "I")
    if is_named_ndpi:
        wide = _Layout(order, "H", 12, "Q")
        offset = wide.number(head, "Q", 4)
        tags = _read_tags(file, wide, offset)
        if tags is not None and _find(tags, wide, _NDPI) is not None:
            return wide, offset, True
    return layout, layout.number(head, "I", 4), False


def _read_tags(file: BinaryIO, layout: _Layout, offset: int) -> bytes | None:
    """The tags of a page, or None where there is no page: one has a width and a height."""
    try:
        file.seek(offset)
        count = layout.number(file.read(8), layout.count)
        if not 0 < count <= _MAX_TAGS:
            return None
        file.seek(offset + struct.calcsize(layout.order + layout.count))
        tags = file.read(count * layout.entry)
    except (OSError, OverflowError, ValueError, struct.error):
        return None
    if len(tags) < count * layout.entry:
        return None
    if _find(tags, layout, _WIDTH) is None or _find(tags, layout, _HEIGHT) is None:
        return None
    return tags


def _find(tags: bytes, layout: _Layout, code: int) -> int | None:
    """Where a tag begins."""
    wanted = struct.pack(layout.order + "H", code)
    starts = range(0, len(tags), layout.entry)
    return next((k for k in starts if tags[k : k + 2] == wanted), None)


def _read_description(file: BinaryIO, layout: _Layout, tags: bytes) -> bytes:
    start = _find(tags, layout, _DESCRIPTION)
    if start is None:
        return b""
    count, value = layout.value(tags, start)
    if count <= start + layout.entry - value:
        return tags[value : value + count]
    file.seek(layout.number(tags, layout.pointer, value))
    return file.read(min(count, _MAX_DESCRIPTION)).rstrip(b"\0")


def _description_end(layout: _Layout, tags: bytes) -> int:
    """Where the description ends in the file; 0 where there is none, or it is among the tags."""
    start = _find(tags, layout, _DESCRIPTION)
    if start is None:
        return 0
    count, value = layout.value(tags, start)
    is_inside = count <= start + layout.entry - value
    return 0 if is_inside else layout.number(tags, layout.pointer, value) + count


def _right_bits(
    file: BinaryIO, layout: _Layout, tags: bytes, place: int
) -> list[tuple[int, bytes]]:
    """The bits of a sample where their tag holds not them but their place in the file.

    Args:
        place: of the tags in the file.
    """
    start = _find(tags, layout, _BITS)
    if start is None or layout.number(tags, "H", start + 2) != _SHORT:
        return []
    count, value = layout.value(tags, start)
    elsewhere = layout.number(tags, "Q" if layout.count == "Q" else "I", value)
    # A number that is there fills the first bytes, which are the higher ones in the order MM.
    if count != 1 or elsewhere <= _MAX_BITS or 0 < layout.number(tags, "H", value) <= _MAX_BITS:
        return []
    file.seek(min(elsewhere, file.seek(0, os.SEEK_END)))
    bits = file.read(2)
    if len(bits) < 2 or layout.number(bits, "H") not in _LIKELY_BITS:
        return []
    return [(place + value, bits + bytes(start + layout.entry - value - 2))]


def _is_cut(file: BinaryIO, layout: _Layout, offset: int, size: int) -> bool:
    """Whether what a pointer leads to may be the beginning of a page that the file's end cuts."""
    start = offset + struct.calcsize(layout.order + layout.count)
    if start + layout.entry > size:
        return offset <= _MAX_LEAP * size + _MIN_LEAP
    file.seek(offset)
    count = layout.number(file.read(start - offset), layout.count)
    if not 0 < count <= _MAX_TAGS or start + count * layout.entry <= size:
        return False
    tags = file.read(size - start)
    whole = range(0, len(tags) - layout.entry + 1, layout.entry)
    return all(0 < layout.number(tags, "H", k + 2) <= _LAST_TYPE for k in whole)
