"""TIFF files that say more than they hold, or that lie in several files; and slides.

There is no public sample of NDPI, SCN and QPTIFF that could be kept here: these are TIFFs with
their suffix, tags and order of pages, as far as tifffile's reader looks at them.
"""

import io
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from app.files.open import channel_names, open_image
from tests.app.image_bytes import RGB, STACK, Array

OME = 'xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"'


def uuid(number: int) -> str:
    return f"urn:uuid:00000000-0000-0000-0000-{number:012d}"


def pixels(sizes: str, planes: str, channels: Sequence[str] = (), more: str = "") -> str:
    """An OME image; ``sizes`` as in Z7 C2, ``planes`` its TiffData."""
    found = {"Z": 1, "C": 1, "T": 1} | {part[0]: int(part[1:]) for part in sizes.split()}
    named = "".join(f'<Channel ID="Channel:0:{k}" Name="{n}"/>' for k, n in enumerate(channels))
    lengths = " ".join(f'Size{axis}="{length}"' for axis, length in found.items())
    height, width = STACK.shape[1:]
    return (
        f'<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" {more} '
        f'SizeX="{width}" SizeY="{height}" {lengths}>{named}{planes}</Pixels></Image>'
    )


def ome(images: str, number: int | None = None) -> str:
    root = "" if number is None else f' UUID="{uuid(number)}"'
    return f'<?xml version="1.0" encoding="UTF-8"?><OME {OME}{root}>{images}</OME>'


def tiff_data(axis: str, index: int, number: int, name: str) -> str:
    return (
        f'<TiffData IFD="0" First{axis}="{index}" PlaneCount="1">'
        f'<UUID FileName="{name}">{uuid(number)}</UUID></TiffData>'
    )


def write_set(
    folder: Path, axis: str = "C", planes: Array = STACK[:2], options: Sequence[Any] = ({}, {})
) -> list[Path]:
    """One image of which each channel (or depth, or time) is a file of its own."""
    names = [f"s_{axis}{k}.ome.tif" for k in range(len(planes))]
    data = "".join(tiff_data(axis, k, k, name) for k, name in enumerate(names))
    channels = [f"stain {k}" for k in range(len(planes))] if axis == "C" else []
    for number, (name, plane, how) in enumerate(zip(names, planes, options, strict=True)):
        text = ome(pixels(f"{axis}{len(planes)}", data, channels), number)
        write(folder / name, plane, description=text, **how)
    return [folder / name for name in names]


def write(path: Path, image: Array, **options: Any) -> None:
    settings: dict[str, Any] = {"photometric": "minisblack", "metadata": None}
    tifffile.imwrite(path, image, **(settings | options))


def next_pointer(data: bytes) -> tuple[int, int, str]:
    """Where the last page's pointer to a next one is, its bytes, and how it is written."""
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        place = file.pages.next_page_offset
        assert place is not None
        return place, file.tiff.offsetsize, file.tiff.offsetformat


def with_next(data: bytes, offset: int) -> bytes:
    """A TIFF whose last page says that another one follows."""
    place, size, form = next_pointer(data)
    return data[:place] + struct.pack(form, offset) + data[place + size :]


def with_last_directory_at_the_end(data: bytes) -> bytes:
    """A classic TIFF of one page whose directory is the last thing in the file."""
    place, size, _ = next_pointer(data)
    order = "<" if data[:2] == b"II" else ">"
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    directory = data[start : place + size]
    return data[:4] + struct.pack(f"{order}I", len(data)) + data[8:] + directory


# --------------------------------------------------------------------------------------- slides


def svs() -> bytes:
    """Aperio: full size in tiles, a thumbnail, a smaller level, label and macro."""
    text = "Aperio Image Library v11.2.1\r\n59x41 (16x16) |AppMag = 20|MPP = 0.4990|Left = 2"
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        common: dict[str, Any] = {"photometric": "rgb", "metadata": None}
        writer.write(RGB, tile=(16, 16), description=text, **common)
        writer.write(RGB[::4, ::4], description=text, **common)
        writer.write(RGB[::2, ::2], tile=(16, 16), description=text, **common)
        writer.write(RGB[:9, :9], subfiletype=1, description="Aperio\r\nlabel 9x9", **common)
        writer.write(RGB[:9, :20], subfiletype=9, description="Aperio\r\nmacro 20x9", **common)
    return buffer.getvalue()


def scn() -> bytes:
    """Leica: a collection of a macro image and a scan of several levels."""
    levels = [RGB[:9, :20], RGB, RGB[::2, ::2]]

    def image(name: str, numbers: Sequence[int]) -> str:
        sizes = "".join(
            f'<dimension sizeX="{levels[n].shape[1]}" sizeY="{levels[n].shape[0]}" r="{r}" '
            f'ifd="{n}"/>'
            for r, n in enumerate(numbers)
        )
        return f'<image name="{name}"><pixels>{sizes}</pixels></image>'

    text = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01">'
        f"<collection>{image('macro', [0])}{image('scan', [1, 2])}</collection></scn>"
    )
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True) as writer:
        for number, level in enumerate(levels):
            description = text if number == 0 else None
            common: dict[str, Any] = {"photometric": "rgb", "metadata": None}
            writer.write(level, tile=(16, 16), description=description, **common)
    return buffer.getvalue()


def qptiff() -> bytes:
    """PerkinElmer: five stains in a page each, a thumbnail, the stains again at half the size."""
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer, bigtiff=True) as writer:
        common: dict[str, Any] = {"metadata": None, "software": "PerkinElmer-QPI"}
        grey: dict[str, Any] = {**common, "photometric": "minisblack", "tile": (16, 16)}
        for plane in STACK[:5]:
            writer.write(plane, resolution=(20000, 20000), resolutionunit=3, **grey)
        writer.write(RGB[::4, ::4], photometric="rgb", **common)
        for plane in STACK[:5]:
            writer.write(np.ascontiguousarray(plane[:40:2, :58:2]), subfiletype=1, **grey)
    return buffer.getvalue()


def ndpi() -> bytes:
    """Hamamatsu: pointers of 64 bits in a file that is no BigTIFF; full size, then a macro."""
    parts = [b"II*\0" + bytes(8)]
    pointers = [4]
    for image, magnification in ((RGB, 20.0), (RGB[:9, :20], -1.0)):
        image = np.ascontiguousarray(image)
        size = sum(map(len, parts))
        maker = b"Hamamatsu\0"
        bits = struct.pack("<3H", 8, 8, 8)
        data = image.tobytes() + maker + bits
        start = size + len(data) + len(data) % 2
        (height, width), end = image.shape[:2], size + image.nbytes
        value = struct.unpack("<I", struct.pack("<f", magnification))[0]
        tags = [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 3, end + len(maker)),
            (259, 3, 1, 1),
            (262, 3, 1, 2),
            (271, 2, len(maker), end),
            (273, 4, 1, size),
            (277, 3, 1, 3),
            (278, 4, 1, height),
            (279, 4, 1, image.nbytes),
            (65420, 4, 1, 1),
            (65421, 11, 1, value),
        ]
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        directory = struct.pack("<H", len(tags)) + entries + bytes(8) + bytes(4 * len(tags))
        parts += [data.ljust(start - size, b"\0"), directory]
        whole = bytearray(b"".join(parts))
        struct.pack_into("<Q", whole, pointers[-1], start)
        pointers.append(start + 2 + len(entries))
        parts = [bytes(whole)]
    return parts[0]


SLIDES = {"slide.svs": svs(), "slide.scn": scn(), "slide.qptiff": qptiff(), "slide.ndpi": ndpi()}


# -------------------------------------------------------------------------------------- reading


def read(path: Path, stack: str = "refuse") -> Array:
    """The whole image, of which a window is the same part."""
    with open_image(path, stack) as image:
        found = image[:, :]
        assert found.shape == image.shape
        np.testing.assert_array_equal(image[3:30, 5:50], found[3:30, 5:50])
    return found


def names_of(path: Path) -> tuple[str, ...]:
    """Of its channels."""
    with open_image(path) as image:
        return channel_names(image)
