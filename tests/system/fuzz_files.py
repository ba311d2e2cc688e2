"""Coverage-guided fuzzing of what reads image files; needs ``pip install atheris``.

    python -m tests.system.fuzz_files --runs 200000 --corpus /tmp/corpus

Starts from the small files of all kinds that the tests know, and from those in the corpus folder,
into which whatever reaches new code is written, so that a next call goes on from there. An input is
two bytes, which choose the file's suffix and what is wanted of a stack, and a file. It must be
refused by an ImageError (or end in MemoryError or OSError), or be an image whose pixels are of the
shape and type that it claims; in ten seconds and two gigabytes. What is not is written to the
corpus folder (without one: here) as ``crash-*``, ``timeout-*`` or ``oom-*`` and ends the run; give
such a file in place of --runs to see it again.
"""

import argparse
import logging
import os
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["app.files", "tifffile"]):
    from app.files import open as reader
    from app.files.stacks import planes_of

from tests.app.broken_files import mend_checksums
from tests.app.czi_bytes import JPEG_XR, PLAIN, SHUFFLED, ZSTD, Tile, czi, metadata
from tests.app.hostile_images import hostile
from tests.app.image_bytes import DEEP, GREY, RGB, STACK
from tests.app.image_kinds import kinds
from tests.app.odd_images import odd
from tests.app.tiff_sets import SLIDES

SUFFIXES = (".tif", ".png", ".jpg", ".bmp", ".czi", ".svs", ".ndpi", ".lsm", ".ome.tif", "")
STACKS = ("refuse", "max", "each", "0", "2")
LARGEST = 4096  # bytes of an input
SECONDS = 10  # for one
MEMORY = 2048  # megabytes
# Of a larger image only some windows are read.
WHOLE = 2**24  # bytes
WINDOW = 64  # pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=-1, help="inputs; without end by default")
    parser.add_argument("--seconds", type=int, default=0, help="without end by default")
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("input", nargs="?", help="one that was found, to be read again")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    limit = (MEMORY + 2048) * 2**20  # with what the libraries reserve without using it
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory(dir=memory_folder()) as name:
        corpus = given.corpus or Path(name) / "corpus"
        seeds = Path(name) / "seeds"
        for folder in (corpus, seeds):
            folder.mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(make_seeds()):
            (seeds / f"{number}").write_bytes(data)
        flags = [
            f"-runs={given.runs}",
            f"-max_total_time={given.seconds}",
            f"-max_len={LARGEST}",
            f"-timeout={SECONDS}",
            f"-rss_limit_mb={MEMORY}",
            f"-artifact_prefix={given.corpus or '.'}/",
        ]
        places = [given.input] if given.input else [f"{corpus}", f"{seeds}"]
        child = os.fork()  # for it ends without coming back
        if not child:
            atheris.Setup([sys.argv[0], *flags, *places], lambda data: read(data, Path(name)))
            atheris.Fuzz()
        status = os.waitpid(child, 0)[1]
    sys.exit(os.waitstatus_to_exitcode(status))


def memory_folder() -> str | None:
    """A folder of which nothing reaches a disk, where there is one."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def make_seeds() -> Iterator[bytes]:
    """Inputs with the files that the tests know, as far as they are small."""
    files = [(kind.name, kind.data) for kind in (*kinds(), *odd())]
    files += [(kind.name, kind.data) for kind in hostile()]
    files += [*SLIDES.items()]
    for number, how in enumerate((PLAIN, JPEG_XR, ZSTD, SHUFFLED)):
        small = [pixels[:20, :20] for pixels in (GREY, DEEP, RGB)]
        files += [
            (f"{number}.czi", czi(Tile(pixels, (-3, 9), compression=how))) for pixels in small
        ]
    planes = [
        Tile(STACK[k, :9, :9], (k % 3, 5), {"C": k % 2, "Z": k // 2, "M": k}) for k in range(4)
    ]
    files.append(("stack.czi", czi(*planes, xml=metadata(("a", "b"), (1e-7, 2e-7)))))
    for name, data in files:
        if len(data) > LARGEST - 2:
            continue
        suffix = "." + name.partition(".")[2]
        place = SUFFIXES.index(suffix) if suffix in SUFFIXES else len(SUFFIXES) - 1
        for stack in (0, 2) if "stack" in name or "Z" in name or "apng" in name else (0,):
            yield bytes([place, stack]) + data


def read(given: bytes, folder: Path) -> None:
    """Read an input; raises what must not be."""
    if len(given) < 2:
        return
    data = bytearray(given[2:])
    mend_checksums(data)
    path = folder / f"a{SUFFIXES[given[0] % len(SUFFIXES)]}"
    stack = STACKS[given[1] % len(STACKS)]
    path.write_bytes(data)
    reader.claimed_size(path, stack)
    try:
        with reader.open_image(path, stack, max_bytes=MEMORY * 2**20 // 4) as image:
            for plane in planes_of(image)[1]:
                check(plane)
            reader.channel_names(image)
        reader.pixel_size(path)
    except (reader.ImageError, MemoryError, OSError):
        pass


def check(image: Any) -> None:
    """Read an image, or parts of a large one."""
    height, width, channels = image.shape
    size = height * width * channels * image.dtype.itemsize
    if size <= WHOLE:
        windows = [(slice(0, height), slice(0, width))]
    else:
        windows = [
            (slice(y, min(y + WINDOW, height)), slice(x, min(x + WINDOW, width)))
            for y in (0, height // 2, max(0, height - WINDOW))
            for x in (0, width // 2, max(0, width - WINDOW))
        ]
    for rows, columns in windows:
        block = image[rows, columns]
        wanted = (rows.stop - rows.start, columns.stop - columns.start, channels)
        found = (block.shape, block.dtype)
        if found != (wanted, image.dtype):
            raise AssertionError(f"{found} is not {wanted} {image.dtype}")


if __name__ == "__main__":
    main()
