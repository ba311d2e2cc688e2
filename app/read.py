"""Image files to arrays, and one kind of error for whatever can't be read."""

from pathlib import Path

import cv2
import numpy as np
import tifffile
from numpy.typing import NDArray

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
_TIFF_SUFFIXES = (".tif", ".tiff")


class ImageError(ValueError):
    """An image that can't be segmented: names the file, what was found and what to do."""


def find_images(folder: Path) -> list[Path]:
    """The images of a folder, by their suffix, sorted; no hidden files and no subfolders."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )


def read_image(path: Path) -> NDArray[np.generic]:
    """Read one image at its own depth.

    The orientation tag of a JPEG is not applied: labels and outlines refer to the stored pixels.

    Args:
        path: a PNG, JPEG, BMP or TIFF file.

    Returns:
        (H, W) or (H, W, C), any integer or float dtype; three and four channels are RGB(A).

    Raises:
        ImageError: the file is empty, broken, or not one two-dimensional image.
    """
    is_tiff = path.suffix.lower() in _TIFF_SUFFIXES
    try:
        if path.stat().st_size == 0:
            raise ImageError(f"{path}: the file is empty; copy or export it again")
        image, axes = _read_tiff(path) if is_tiff else _read_opencv(path)
    except OSError as error:
        raise ImageError(f"{path}: can't be opened ({error.strerror}); check the file") from error
    return _channels_last(image, axes, path)


def _read_tiff(path: Path) -> tuple[NDArray[np.generic], str]:
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            pages = [page for page in series.pages if page is not None]
            segments = [zip(p.dataoffsets, p.databytecounts, strict=True) for p in pages]
            # JPEG's decoder makes up what is missing, so it must not come to that.
            end = max(start + size for page in segments for start, size in page)
            if end > tiff.filehandle.size:
                raise ValueError(f"{end} bytes were wanted, {tiff.filehandle.size} are there")
            return np.asarray(series.asarray()), series.axes
    # Broken files make tifffile and its codecs raise nearly any exception.
    except Exception as error:
        raise ImageError(
            f"{path}: not a complete TIFF file ({type(error).__name__}: {error}); "
            "copy or export it again"
        ) from error


def _read_opencv(path: Path) -> tuple[NDArray[np.generic], str]:
    data = np.fromfile(path, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ImageError(f"{path}: can't be decoded ({error.err}); export it again") from error
    if image is None:
        raise ImageError(
            f"{path}: not a complete PNG, JPEG or BMP image, whatever its name says "
            f"({size_text(data.size)}); export it again"
        )
    if image.ndim == 3 and image.shape[2] >= 3:
        order = [2, 1, 0, 3][: image.shape[2]]
        image = np.ascontiguousarray(image[:, :, order])
    return np.asarray(image), "YXS"[: image.ndim]


def _channels_last(image: NDArray[np.generic], axes: str, path: Path) -> NDArray[np.generic]:
    """Drop axes of length 1 beside height and width, and put channels last.

    Args:
        axes: a letter for each axis, as tifffile gives them. Of three axes where none is said to
            be channels (C, S), a first one that is by far the shortest is taken for them.
    """
    kept = [k for k, n in enumerate(image.shape) if n > 1 or axes[k] in "YX"]
    squeezed = image.reshape([image.shape[k] for k in kept])
    known = "".join(axes[k] for k in kept)
    if squeezed.ndim == 3 and (
        known[0] in "CS"
        or (known[2] not in "CS" and squeezed.shape[0] < min(8, *squeezed.shape[1:]))
    ):
        squeezed = np.moveaxis(squeezed, 0, 2)
    if squeezed.ndim == 3 and squeezed.shape[2] == 1:
        squeezed = squeezed[:, :, 0]
    is_stack = squeezed.ndim == 3 and (squeezed.shape[2] > 32 or bool({"Z", "T"} & {*known}))
    if squeezed.ndim not in (2, 3) or is_stack:
        raise ImageError(
            f"{path}: holds axes {axes} of lengths {image.shape}, but one two-dimensional image "
            "was wanted; export one plane, or a projection, of the stack"
        )
    if squeezed.size == 0 or squeezed.dtype.kind not in "buif":
        raise ImageError(
            f"{path}: holds {squeezed.dtype} values in shape {image.shape}; "
            "export it as 8-bit, 16-bit or float"
        )
    return squeezed


def size_text(size: int) -> str:
    """A file size for people."""
    return f"{size} bytes" if size < 10_000 else f"{size / 1000:.0f} kB"
