"""How large a pixel is, where the file tells."""

import math
import re
import struct
from typing import Any

import tifffile

from .ome import Ome

Size = tuple[float, float]
"""(y, x) micrometres."""

# Resolutions for screens and printers, such as 72 or 300 dots an inch, are those of no microscope.
_MAX_UNNAMED = 20.0  # micrometres
_UNITS = {"micron": 1.0, "microns": 1.0, "um": 1.0, "µm": 1.0, "μm": 1.0, "nm": 1e-3, "mm": 1e3}
_UNITS |= {"cm": 1e4, "m": 1e6, "meter": 1e6, "inch": 25400.0, "in": 25400.0, "nanometer": 1e-3}
_TIFF_UNITS = {2: 25400.0, 3: 1e4}  # of ResolutionUnit: inch, centimetre
_APERIO = re.compile(r"\|\s*MPP\s*=\s*([0-9.]+)")
_METRE = 1  # of a PNG's pHYs


def tiff_pixel_size(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, ome: Ome | None
) -> Size | None:
    """The size of a pixel of one image of a TIFF file, or None where it doesn't tell.

    By OME, ImageJ, Aperio and Zeiss LSM; else by TIFF's resolution where that is of a microscope.

    Args:
        file: open.
        series: the image.
        ome: the file's description.
    """
    try:
        return _read_size(file, series, ome)
    except (TypeError, ValueError, ArithmeticError, LookupError, AttributeError):
        return None  # a broken tag


def _read_size(
    file: tifffile.TiffFile, series: tifffile.TiffPageSeries, ome: Ome | None
) -> Size | None:
    if series.kind == "ome" and ome is not None:
        number = file.series.index(series) if len(ome.images) == len(file.series) else 0
        return ome.images[number].pixel_size
    page: Any = series.keyframe
    found = _APERIO.search(page.description) if series.kind == "svs" else None
    if found:
        return _checked(float(found[1]), float(found[1]))
    if file.is_lsm:
        voxel = file.lsm_metadata or {}
        return _checked(*(1e6 * voxel.get(f"VoxelSize{axis}", math.nan) for axis in "YX"))
    unit = _TIFF_UNITS.get(int(page.tags.valueof(296, 2)))
    is_named = file.is_imagej
    if is_named:
        name = str((file.imagej_metadata or {}).get("unit", ""))
        unit = _UNITS.get(name.replace("\\u00B5", "µ").strip().lower())
    resolutions = [page.tags.valueof(code) for code in (283, 282)]  # y, x
    if unit is None or any(value is None or not all(value) for value in resolutions):
        return None
    size = _checked(*(unit * below / above for above, below in resolutions))
    return size if is_named or (size and max(size) <= _MAX_UNNAMED) else None


def png_pixel_size(data: bytes) -> Size | None:
    """The size of a pixel of a PNG file, of which the end may be missing."""
    place = data.find(b"pHYs")
    end = data.find(b"IDAT")
    if place < 0 or place > end >= 0 or len(data) < place + 13:
        return None
    across, down, unit = struct.unpack_from(">IIB", data, place + 4)
    if unit != _METRE or not across or not down:
        return None
    size = _checked(1e6 / down, 1e6 / across)
    return size if size and max(size) <= _MAX_UNNAMED else None


def _checked(y: float, x: float) -> Size | None:
    return (y, x) if all(math.isfinite(n) and n > 0 for n in (y, x)) else None
