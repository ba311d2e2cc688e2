"""Files to arrays; and files that can't be read, each with its name, a reason and a remedy."""

import math

import cv2
import numpy as np
import pytest
import tifffile

from app.files.open import ImageError, claimed_size, find_images, open_image, read_image

rng = np.random.default_rng(0)
GREY = rng.integers(1, 255, (37, 53), dtype=np.uint8)
RGB = rng.integers(1, 255, (37, 53, 3), dtype=np.uint8)
RGBA = rng.integers(1, 255, (37, 53, 4), dtype=np.uint8)


def write_opencv(path, image) -> None:
    order = {2: np.s_[:], 3: np.s_[:, :, [2, 1, 0, 3][: image.shape[-1]]]}[image.ndim]
    assert cv2.imwrite(str(path), image[order])


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "TIFF", "PNG"])
@pytest.mark.parametrize("image", [GREY, RGB], ids=["grey", "RGB"])
def test_lossless_formats(image, suffix, tmp_path):
    path = tmp_path / f"a.{suffix}"
    write_opencv(path, image)
    np.testing.assert_array_equal(read_image(path), image)


def test_alpha_is_dropped_and_depth_is_kept(tmp_path):
    write_opencv(tmp_path / "alpha.png", RGBA)
    np.testing.assert_array_equal(read_image(tmp_path / "alpha.png"), RGBA[:, :, :3])
    deep = GREY.astype(np.uint16) * 250
    write_opencv(tmp_path / "deep.png", deep)
    found = read_image(tmp_path / "deep.png")
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, deep)


def test_jpeg_in_the_order_red_green_blue(tmp_path):
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :, 0] = 250
    write_opencv(tmp_path / "a.jpg", image)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - image).max() < 12


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "int32", "float32", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
def test_tiff_depths_and_compressions(dtype, compression, tmp_path):
    path = tmp_path / "a.tiff"
    tifffile.imwrite(path, GREY.astype(dtype), compression=compression)
    found = read_image(path)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, GREY)


def test_tiff_with_channels_first_or_last(tmp_path):
    stack = np.moveaxis(RGB, 2, 0)
    tifffile.imwrite(tmp_path / "first.tif", stack, photometric="minisblack")
    tifffile.imwrite(tmp_path / "last.tif", RGB, photometric="rgb")
    for name in ("first.tif", "last.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name), RGB)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 200, 3), (2, 200, 3), (200, 1, 3), (3, 200, 4)])
def test_short_colour_images_keep_their_height_and_width(shape, suffix, tmp_path):
    # Their height was once taken for a number of channels.
    image = rng.integers(1, 255, shape, dtype=np.uint8)
    if suffix == "bmp":
        image = image[:, :, :3]  # OpenCV writes no alpha to BMP
    path = tmp_path / f"short.{suffix}"
    if suffix == "tif":
        tifffile.imwrite(path, image, photometric="rgb")
    else:
        write_opencv(path, image)
    np.testing.assert_array_equal(read_image(path), image[:, :, :3])


def test_axes_in_the_file_tell_channels_from_planes(tmp_path):
    path = tmp_path / "a.tif"
    stack = rng.integers(1, 255, (12, 40, 50), dtype=np.uint8)
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": "CYX"})
    np.testing.assert_array_equal(read_image(path), np.moveaxis(stack, 0, 2))
    for axes in ("ZYX", "TYX"):
        tifffile.imwrite(path, stack[:3], imagej=True, metadata={"axes": axes})
        with pytest.raises(ImageError, match=rf"a\.tif: holds axes {axes} .*export one plane"):
            read_image(path)


def test_an_orientation_tag_turns_nothing(tmp_path):
    # EXIF with the one tag 0x0112 = 6: to be shown turned by 90 degrees.
    tag = bytes.fromhex("49492a0008000000010012010300010000000600000000000000")
    data = cv2.imencode(".jpg", RGB)[1].tobytes()
    exif = b"\xff\xe1" + (len(tag) + 8).to_bytes(2, "big") + b"Exif\0\0" + tag
    (tmp_path / "turned.jpg").write_bytes(data[:2] + exif + data[2:])
    assert read_image(tmp_path / "turned.jpg").shape == RGB.shape


def test_only_images_are_found_and_in_order(tmp_path):
    for name in ("b.PNG", "a.tif", "notes.txt", "c.jpeg", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "folder.png").mkdir()
    assert [p.name for p in find_images(tmp_path)] == ["a.tif", "b.PNG", "c.jpeg"]


def truncated(data: bytes, share: float) -> bytes:
    return data[: int(len(data) * share)]


def encoded(name: str, tmp_path) -> bytes:
    # Structured, so that compression has something to do and the file several parts.
    image = cv2.resize(RGB, (400, 300), interpolation=cv2.INTER_CUBIC)
    path = tmp_path / f"whole{name}"
    kind, suffix = name.split(".")
    if suffix == "tif":
        compression = None if kind == "plain" else kind
        tifffile.imwrite(path, image, compression=compression, photometric="rgb", rowsperstrip=32)
    else:
        write_opencv(path, image)
    return path.read_bytes()


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97, 0.999])
@pytest.mark.parametrize(
    "name", ["plain.tif", "zlib.tif", "lzw.tif", "jpeg.tif", "a.png", "a.jpg", "a.bmp"]
)
def test_truncated_files_are_refused(name, share, tmp_path):
    path = tmp_path / f"cut.{name.split('.')[1]}"
    path.write_bytes(truncated(encoded(name, tmp_path), share))
    with pytest.raises(ImageError, match=r"cut\..*(again|export)"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif"])
@pytest.mark.parametrize("content", [b"", b"these are no pixels\n" * 20], ids=["empty", "text"])
def test_files_that_hold_no_image_are_refused(content, suffix, tmp_path):
    path = tmp_path / f"not.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"not\..*(empty|not a).*again"):
        read_image(path)
    assert claimed_size(path).pixels == math.inf


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(ImageError, match=r"gone\.png: can't be opened"):
        read_image(tmp_path / "gone.png")


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_folder_named_as_an_image_is_refused(suffix, tmp_path):
    path = tmp_path / f"folder.{suffix}"
    path.mkdir()
    with pytest.raises(ImageError, match=rf"folder\.{suffix}: .*Is a directory"):
        read_image(path)


@pytest.mark.parametrize("shape", [(12, 40, 50), (3, 5, 40, 50)])
def test_stacks_are_refused_with_their_axes(shape, tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint8), photometric="minisblack")
    with pytest.raises(ImageError, match=r"stack\.tif: .*40, 50.*export one plane"):
        read_image(path)


def test_complex_values_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "c.tif", np.zeros((8, 8), np.complex64))
    with pytest.raises(ImageError, match=r"c\.tif: holds complex64"):
        read_image(tmp_path / "c.tif")


@pytest.mark.parametrize(("way", "expected"), [("max", [1, 2, 3, 4]), ("1", [0, 2, 0, 4])])
def test_a_stack_is_projected_or_a_plane_is_picked(way, expected, tmp_path):
    planes = np.array([[[1, 0, 3, 0]], [[0, 2, 0, 4]]], np.uint8)
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "ZYX"})
    with open_image(path, way) as image:
        assert image[:, :][0, :, 0].tolist() == expected
