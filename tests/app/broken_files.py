"""Image files broken at random: headers first, for it is there that little changes do most."""

import io
import zlib
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from tests.app.guarded_reading import read_guarded
from tests.app.image_kinds import Kind, kinds

SEED = 2022
SECONDS = 10  # of the processor, for one file
MEMORY = 2**30  # bytes for one file
EXTREMES = (0, 1, 2, 3, 8, 255, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
# Tags whose values choose what is run: better one that exists than any.
CHOICES = {259: tifffile.COMPRESSION, 262: tifffile.PHOTOMETRIC, 317: tifffile.PREDICTOR}


@cache
def header_fields(data: bytes) -> list[tuple[int, int, int]]:
    """(offset, bytes, TIFF tag or 0) of numbers on which much depends."""
    if data[:2] == b"BM":
        return [(start, size, 0) for start in range(2, 54, 2) for size in (2, 4)]
    if data[:2] == b"\xff\xd8":
        markers = [k for k in range(len(data) - 20) if data[k] == 255 and data[k + 1] >= 0xC0]
        return [
            (k + step, size, 0) for k in markers for step in (1, 2, 4, 5, 7, 9) for size in (1, 2)
        ]
    if data[:4] == b"\x89PNG":
        sizes = [(k - 4, 4, 0) for k in range(12, len(data)) if data[k : k + 4].isalpha()]
        return [
            *sizes,
            *((16 + k, n, 0) for k, n in enumerate((4, 4, 4, 4, 4, 4, 4, 4, 1, 1, 1, 1, 1))),
        ]
    fields = []
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        wide = 8 if file.is_bigtiff else 4
        for page in file.pages:
            for tag in page.tags:  # type: ignore[union-attr]
                fields += [(tag.offset + 2, 2, 0), (tag.offset + 4, wide, 0)]
                size = tag.valuebytecount // max(1, tag.count)
                fields += [(tag.valueoffset, size, tag.code)] * 3
    return fields


def mutate(kind: Kind, rng: np.random.Generator) -> tuple[str, bytes]:
    """One broken variant of a file, and what was done to it."""
    data = bytearray(kind.data)
    how = rng.choice(["flip", "overwrite", "remove", "insert", "repeat", "cut", *["header"] * 4])
    # Half of the time near the beginning, where the headers are.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 600)
    start, end = sorted(int(k) for k in rng.integers(0, reach, 2))
    end = min(end, start + int(rng.choice([1, 4, 64, 10_000])))
    if how == "flip":
        for place in rng.integers(0, reach, rng.integers(1, 12)):
            data[place] ^= int(rng.integers(1, 256))
    elif how == "overwrite":
        fill = rng.choice(["zeros", "ones", "random"])
        data[start:end] = {
            "zeros": bytes(end - start),
            "ones": b"\xff" * (end - start),
            "random": rng.bytes(end - start),
        }[str(fill)]
    elif how == "remove":
        del data[start:end]
    elif how == "insert":
        data[start:start] = rng.bytes(end - start)
    elif how == "repeat":
        data[start:start] = data[start:end] * int(rng.integers(1, 4))
    elif how == "cut":
        del data[int(rng.integers(0, len(data))) :]
    else:
        fields = header_fields(kind.data)
        for _ in range(rng.integers(1, 4)):
            set_field(data, *fields[rng.integers(len(fields))], rng)
    if rng.random() < 0.9:
        mend_checksums(data)
    return str(how), bytes(data)


def set_field(data: bytearray, start: int, size: int, tag: int, rng: np.random.Generator) -> None:
    """Overwrite a number with an extreme, or with another one that has a meaning."""
    values: Any = [int(value) for value in CHOICES[tag]] if tag in CHOICES else EXTREMES
    value = int(rng.choice(values)) % 256**size
    order: Literal["little", "big"] = "little" if bytes(data[:2]) in (b"II", b"BM") else "big"
    data[start : start + size] = value.to_bytes(size, order)


def mend_checksums(data: bytearray) -> None:
    """Make the chunks of a PNG file agree with their checksums, or its decoder sees no others."""
    place = 8
    while data[:4] == b"\x89PNG" and place + 12 <= len(data):
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if end + 4 > len(data):
            break
        data[end : end + 4] = zlib.crc32(data[place + 4 : end]).to_bytes(4, "big")
        place = end + 4


def assert_read_or_refused(folder: Path, each: int) -> None:
    """Make so many broken files of each kind in a folder, and read them all."""
    rng = np.random.default_rng(SEED)
    paths = []
    for kind in kinds():
        for number in range(each):
            how, data = mutate(kind, rng)
            paths.append(folder / f"{number}_{how}_{kind.name}")
            paths[-1].write_bytes(data)
    assert len(paths) >= 80 * each
    outcomes = read_guarded(paths, SECONDS, MEMORY)
    counts = Counter(outcome.what for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    print(f"\n{len(paths)} broken files: {dict(counts)}; slowest {slowest.seconds:.1f} s")
    bad = [outcome for outcome in outcomes if not outcome.good]
    assert not bad, "\n".join(f"{o.path}: {o.what}: {o.text}" for o in bad)
