"""What the description of a TIFF file claims, and how far what is in the file bears it out."""

import logging
import math
import struct
from collections.abc import Collection
from pathlib import Path

import tifffile

from .arrays import ImageError
from .directories import Chain, follow
from .ome import Ome, is_beside

_MAX_PLANES = 100_000  # that a description is believed to have

# Of a plane, that may lie behind the last one and be no part of a further one that was cut off.
_MAX_REST = 0.25

logger = logging.getLogger(__name__)


def doubts(path: Path, ome: Ome | None) -> dict[str, bool]:
    """What tifffile shall not make of a file, as arguments for it.

    Args:
        path: of the file.
        ome: its description.

    Raises:
        ImageError: another file, which holds a part of the image, is broken.
    """
    if ome is None:
        return {}
    if any(not 0 < image.planes <= _MAX_PLANES for image in ome.images):
        logger.warning("its OME description claims impossible sizes and is left aside")
        return {"is_ome": False}
    if ome.elsewhere:
        logger.warning("%s describes it as a part of an image; it is read alone", ome.elsewhere)
    for name in _other_files(path, ome):
        if not is_beside(name):
            logger.warning("its OME description, which names %s, is left aside", name)
            return {"is_ome": False}
        other = path.resolve().parent / name
        if other.exists():
            _check_other(path, other)
    return {}


def claims_too_much(file: tifffile.TiffFile, series: tifffile.TiffPageSeries, chain: Chain) -> bool:
    """Whether a description by ImageJ or tifffile tells of more planes than were written.

    Args:
        file: open.
        series: as the description has it.
        chain: the pages that are there.

    Raises:
        ValueError: some that were written are missing.
    """
    page = series.keyframe
    claimed = series.size // max(1, math.prod(page.shape))
    if file.is_imagej and series.kind in ("generic", "uniform"):  # tifffile left it aside
        described = file.imagej_metadata or {}
        axes = (int(described.get(name, 1)) for name in ("frames", "slices", "channels"))
        claimed = math.prod(axes) // max(1, page.samplesperpixel)
    elif series.kind not in ("shaped", "imagej"):
        return False
    if claimed <= chain.pages:
        return False
    rest = 0
    if page.is_contiguous:  # further planes may follow without a page of their own
        rest = file.filehandle.size - page.dataoffsets[0] - page.nbytes
        if rest >= (claimed - 1) * page.nbytes:
            return False
    if rest > _MAX_REST * page.nbytes or chain.cut:
        raise ValueError(f"{claimed} planes were wanted, not all are there")
    logger.warning(
        "its description tells of %d planes, %d are in the file; what is there counts",
        *(claimed, chain.pages),
    )
    return True


def check_missing(
    path: Path,
    ome: Ome | None,
    series: tifffile.TiffPageSeries,
    chain: Chain,
    missing: Collection[int],
) -> None:
    """See whether planes are missing, and tell of it.

    Args:
        path: of the file.
        ome: its description.
        series: the image.
        chain: the pages that are there.
        missing: numbers of the planes that aren't.

    Raises:
        ValueError: the file was cut short.
    """
    is_described = series.kind in ("ome", "imagej", "shaped")
    if chain.cut and (missing or (chain.pages > 1 and not is_described)):
        raise ValueError(f"what follows page {chain.pages} is missing")
    if chain.fault:
        logger.warning(
            "the pointer after page %d %s; the pages up to it are read", chain.pages, chain.fault
        )
    if missing and ome is not None:
        folder = path.resolve().parent
        gone = [name for name in _other_files(path, ome) if not (folder / name).exists()]
        logger.warning(
            "its description tells of %d planes, %d are there%s; what is there counts",
            *(len(series.pages), len(series.pages) - len(missing)),
            f" (not {', '.join(gone)})" if gone else "",
        )


def _other_files(path: Path, ome: Ome) -> list[str]:
    """Names of the other files that hold planes of what a file's description tells of."""
    return [name for name in ome.files if name.lower() != path.name.lower()]


def _check_other(path: Path, other: Path) -> None:
    """Refuse another file that tifffile might not come to an end with."""
    try:
        fault = follow(other).fault if other.is_file() else "is no file"
    except (OSError, ValueError, struct.error) as error:
        fault = f"{error}"
    if fault:
        raise ImageError(
            f"{path}: {other.name}, which holds a part of it, can't be read ({fault}); copy or "
            "export both again"
        )
