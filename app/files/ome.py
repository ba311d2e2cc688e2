"""What OME-XML, the description of an OME-TIFF, says of the images in one or several files."""

import math
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

_MICROMETRES = {"m": 1e6, "cm": 1e4, "mm": 1e3, "nm": 1e-3, "pm": 1e-6, "Å": 1e-4, "in": 25400.0}


@dataclass(frozen=True)
class OmeImage:
    """One image.

    Attributes:
        files: names of those that hold its planes, in the order of the planes; none where all is
            in the file that the description is of.
        channels: their names, "" where one has none.
        planes: in all.
        pixel_size: (y, x) micrometres; None where it isn't told.
    """

    files: tuple[str, ...]
    channels: tuple[str, ...]
    planes: int
    pixel_size: tuple[float, float] | None


@dataclass(frozen=True)
class Ome:
    """All of a description.

    Attributes:
        images: in their order.
        elsewhere: the file that has the description instead of this one, or "".
    """

    images: tuple[OmeImage, ...]
    elsewhere: str

    @property
    def files(self) -> tuple[str, ...]:
        """Names of all files that hold planes, the first one first."""
        return tuple(dict.fromkeys(name for image in self.images for name in image.files))


def read_ome(text: str | bytes) -> Ome | None:
    """Read a description.

    Returns:
        None where it is no OME-XML, or broken.
    """
    if isinstance(text, str):
        text = text.encode()
    if not text.rstrip(b"\0 \r\n\t").endswith(b"OME>"):
        return None
    try:
        root = ElementTree.fromstring(text.rstrip(b"\0"))
        images = tuple(_read_image(pixels) for pixels in root.iterfind("{*}Image/{*}Pixels"))
    except (ElementTree.ParseError, ValueError, LookupError):
        return None
    other = root.find("{*}BinaryOnly")
    return Ome(images, "" if other is None else other.get("MetadataFile", ""))


def is_beside(name: str) -> bool:
    """Whether a description names a file in the same folder, and none that lies elsewhere."""
    return Path(name).name == name and name not in ("", ".", "..")


def _read_image(pixels: ElementTree.Element) -> OmeImage:
    names = (uuid.get("FileName", "") for uuid in pixels.iterfind("{*}TiffData/{*}UUID"))
    sizes = [int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT"]
    return OmeImage(
        tuple(dict.fromkeys(name for name in names if name)),
        tuple(channel.get("Name", "") for channel in pixels.iterfind("{*}Channel")),
        math.prod(sizes),
        _pixel_size(pixels),
    )


def _pixel_size(pixels: ElementTree.Element) -> tuple[float, float] | None:
    found = []
    for axis in "YX":
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")
        factor = 1.0 if unit in ("µm", "μm", "um") else _MICROMETRES.get(unit, math.nan)
        found.append(float(pixels.get(f"PhysicalSize{axis}", "nan")) * factor)
    y, x = found
    return (y, x) if all(math.isfinite(n) and n > 0 for n in found) else None
