"""Thousands of broken files: each is an image or an ImageError; nothing crashes or hangs."""

import io
import json
import subprocess
import sys
import zlib
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tifffile

from tests.app.image_kinds import Kind, kinds

SEED = 2022
EACH = 30  # broken files of a kind
SECONDS = 10  # for one file
MEMORY = 2**30  # bytes for one file
EXTREMES = (0, 1, 2, 3, 8, 255, 2**15 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1)
# Tags whose values choose what is run: better one that exists than any.
CHOICES = {259: tifffile.COMPRESSION, 262: tifffile.PHOTOMETRIC, 317: tifffile.PREDICTOR}

# What is said where there was no more: an ImageError, but the file should not have come so far.
OUT_OF_MEMORY = ("MemoryError", "nsufficient memory", "allocate", "bad_alloc")

# Reads each file that is named on stdin. A decoder that hangs is ended by a thread that needs
# nothing from Python, and one that crashes leaves the line that called it on stderr.
CHILD = """
import faulthandler, json, resource, sys, time
from pathlib import Path
from app.files.open import ImageError, open_image
limit, memory = int(sys.argv[1]), int(sys.argv[2])
faulthandler.enable()
taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
# Far more than is right: what takes too much shall be seen to, not refused by the system.
resource.setrlimit(resource.RLIMIT_AS, (taken + 4 * memory, taken + 4 * memory))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
for line in sys.stdin:
    faulthandler.dump_traceback_later(limit, exit=True)
    started, before = time.perf_counter(), peak()
    try:
        with open_image(Path(line.rstrip())) as image:
            block = image[:, :]
            what, text = "image", f"{block.shape} {block.dtype}"
            if (block.shape, block.dtype) != (image.shape, image.dtype) or block.ndim != 3:
                what, text = "wrong", f"{text} is not {image.shape} {image.dtype}"
    except ImageError as error:
        what, text = "refused", str(error)
    except Exception as error:
        what, text = "raised", f"{type(error).__name__}: {error}"
    faulthandler.cancel_dump_traceback_later()
    seconds = time.perf_counter() - started
    print(json.dumps([what, text, seconds, peak() - before]), flush=True)
"""


@dataclass(frozen=True)
class Outcome:
    """How reading a file ended: ``image``, ``refused``; or what must not be.

    ``raised`` another exception, ``wrong`` in what it said of itself, ``died`` of a crash or a
    hang, took too much ``memory``.
    """

    path: Path
    what: str
    text: str
    seconds: float

    @property
    def good(self) -> bool:
        return self.what in ("image", "refused")


def read_guarded(paths: list[Path], seconds: int = SECONDS, memory: int = MEMORY) -> list[Outcome]:
    """Read files in a child process; in another one after each that ends it.

    Args:
        paths: of the files.
        seconds: in which each must be done.
        memory: bytes that each may add to the peak of the process.
    """
    found: list[Outcome] = []
    command = [sys.executable, "-c", CHILD, str(seconds), str(memory)]
    while len(found) < len(paths):
        names = "".join(f"{path}\n" for path in paths[len(found) :])
        done = subprocess.run(command, input=names, capture_output=True, text=True, check=False)
        for line, path in zip(done.stdout.splitlines(), paths[len(found) :], strict=False):
            what, text, took, more = json.loads(line)
            if more > memory or any(word in text for word in OUT_OF_MEMORY):
                what = "memory"
            found.append(Outcome(path, what, f"{text} (took {more / 1e6:.0f} MB)", took))
        if len(found) < len(paths):
            ended = f"exit status {done.returncode}: {done.stderr[-1500:]}"
            found.append(Outcome(paths[len(found)], "died", ended, seconds))
    return found


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


def test_every_broken_file_is_an_image_or_refused(tmp_path):
    rng = np.random.default_rng(SEED)
    paths = []
    for kind in kinds():
        for number in range(EACH):
            how, data = mutate(kind, rng)
            paths.append(tmp_path / f"{number}_{how}_{kind.name}")
            paths[-1].write_bytes(data)
    assert len(paths) >= 2000
    outcomes = read_guarded(paths)
    counts = Counter(outcome.what for outcome in outcomes)
    slowest = max(outcomes, key=lambda outcome: outcome.seconds)
    print(f"\n{len(paths)} broken files: {dict(counts)}; slowest {slowest.seconds:.1f} s")
    bad = [outcome for outcome in outcomes if not outcome.good]
    assert not bad, "\n".join(f"{o.path}: {o.what}: {o.text}" for o in bad)


def test_a_reader_that_dies_is_noticed_and_the_rest_goes_on(tmp_path, monkeypatch):
    whole = next(kind for kind in kinds() if kind.name == "png_grey8.png")
    for name in ("a.png", "b_crash.png", "c.png", "d_hang.png", "e.png"):
        (tmp_path / name).write_bytes(whole.data)
    trap = """
    if "crash" in line:
        import os, signal
        os.kill(os.getpid(), signal.SIGSEGV)
    while "hang" in line:
        pass
    started, """
    monkeypatch.setitem(globals(), "CHILD", CHILD.replace("\n    started, ", trap))
    outcomes = read_guarded(sorted(tmp_path.iterdir()), seconds=1)
    assert [outcome.what for outcome in outcomes] == ["image", "died", "image", "died", "image"]
    assert "Segmentation fault" in outcomes[1].text
    assert "Timeout" in outcomes[3].text
    assert all(b.path > a.path for a, b in pairwise(outcomes))
