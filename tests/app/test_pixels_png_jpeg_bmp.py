"""PNG, JPEG and BMP of unusual kinds: the right pixels, or a refusal that says what they are."""

import io
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from app.files.jpeg import clean
from app.files.open import ImageError, claimed_size, open_image
from tests.app.image_bytes import GREY, PALETTE, RGB, STACK, jpeg, png, png_chunk
from tests.app.image_kinds import Kind
from tests.app.odd_images import (
    CLEAR,
    HEIGHT,
    KEEP,
    OVER,
    RESTORE,
    SOURCE,
    WHOLE,
    WIDTH,
    animation,
    odd,
    run_length_bmp,
    whole_frames,
)

ODD = odd()


def placed(data, folder, name):
    path = folder / name
    path.write_bytes(data)
    return path


def read(path, stack="refuse"):
    with open_image(path, stack) as image:
        return image[:, :]


@pytest.mark.parametrize("kind", [k for k in ODD if k.expected is not None], ids=lambda k: k.name)
def test_the_right_pixels(kind, tmp_path):
    path = placed(kind.data, tmp_path, kind.name)
    found = read(path)
    assert (found.shape, found.dtype) == (kind.expected.shape, kind.expected.dtype)
    difference = np.abs(found.astype(float) - kind.expected)
    assert difference.mean() <= kind.loss
    assert claimed_size(path).pixels == kind.expected.shape[0] * kind.expected.shape[1]


@pytest.mark.parametrize(
    ("beginning", "what"),
    [
        ("apng_two", "holds an animation of 2 frames.*export one frame.*--stack"),
        ("jpeg_cmyk", "CMYK JPEG is not supported; export"),
        ("jpeg_ycck", "CMYK JPEG is not supported; export"),
        ("jpeg_12bit", "12-bit JPEG is not supported; export"),
        ("jpeg_lossless", "lossless JPEG is not supported; export"),
        ("jpeg_ls", "JPEG-LS is not supported; export"),
        ("jpeg_arithmetic", "arithmetic-coded JPEG is not supported; export"),
        ("jpeg_no_height", "JPEG without a height is not supported; export"),
        ("bmp_runs", "run-length BMP is not supported; export"),
        ("bmp_os2", "BMP of OS/2 is not supported; export"),
        ("bmp_masks_scattered", "BMP with scattered masks is not supported; export"),
    ],
)
def test_what_is_not_supported_is_told_by_its_name(beginning, what, tmp_path):
    kinds = [kind for kind in ODD if kind.name.startswith(beginning)]
    assert kinds
    for kind in kinds:
        with pytest.raises(ImageError, match=f"{kind.name}: {what}"):
            read(placed(kind.data, tmp_path, kind.name))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
@pytest.mark.parametrize("kind", [k for k in ODD if k.expected is not None], ids=lambda k: k.name)
def test_what_is_cut_short_is_not_complete(kind, share, tmp_path):
    if "trailing" in kind.name:
        return  # what is lost there is lost behind the end
    path = placed(kind.data[: int(share * len(kind.data))], tmp_path, kind.name)
    with pytest.raises(ImageError, match=r"not a complete .*copy or export it again"):
        read(path)


@pytest.mark.parametrize("scans", [101, 5000])
def test_a_jpeg_that_would_take_ages_is_refused(scans, tmp_path):
    data = jpeg(GREY, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    again = b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x10"
    path = placed(data[:-2] + again * scans + data[-2:], tmp_path, "scans.jpg")
    with pytest.raises(ImageError, match="100 scans is not supported"):
        read(path)


def test_the_decoder_sees_nothing_that_is_no_part_of_a_jpeg(tmp_path, capfd):
    """It would complain on the terminal, without a name."""
    kinds = [k for k in ODD if k.name.startswith(("jpeg_trailing", "jpeg_junk", "jpeg_fill"))]
    assert len(kinds) == 5
    for kind in kinds:
        read(placed(kind.data, tmp_path, kind.name))
    assert capfd.readouterr().err == ""
    grey = jpeg(GREY)
    for data in (grey + b"more", grey[:2] + b"junk" + grey[2:] + b"more"):
        assert clean(data) == grey


def test_a_jpeg_without_scans_is_refused(tmp_path):
    data = jpeg(GREY)
    path = placed(data[: data.index(b"\xff\xda")] + b"\xff\xd9", tmp_path, "none.jpg")
    with pytest.raises(ImageError, match="not a complete JPEG"):
        read(path)


def test_a_jpeg_that_breaks_in_the_middle_is_not_complete(tmp_path):
    """A marker that none may use: the decoder would stop there, and fill in grey."""
    data = jpeg(RGB)
    middle = (data.index(b"\xff\xda") + len(data)) // 2
    data = data[:middle] + b"\xff\x20\x00\x02" + data[middle + 4 :]
    path = placed(data, tmp_path, "broken.jpg")
    with pytest.raises(ImageError, match="not a complete JPEG"):
        read(path)


# -------------------------------------------------------------------------------- animated PNG


def pillow_frames(data: bytes) -> list[np.ndarray]:
    image: Any = Image.open(io.BytesIO(data))
    frames = []
    for number in range(image.n_frames):
        image.seek(number)
        frames.append(np.asarray(image.convert("RGB")))
    return frames


PART = (5, 7, HEIGHT - 4, WIDTH - 20)
CUT = STACK[:, PART[0] : PART[2], PART[1] : PART[3]]
COLOURS = np.ascontiguousarray(np.moveaxis(CUT[:3], 0, 2))
ANIMATIONS = {
    "whole": animation(whole_frames(4)),
    "parts": animation([(STACK[0], WHOLE, SOURCE, KEEP), (CUT[1], PART, SOURCE, KEEP)]),
    "over": animation([(STACK[0], WHOLE, OVER, KEEP), (CUT[1], PART, OVER, KEEP)]),
    "cleared": animation(
        [
            (STACK[0], WHOLE, SOURCE, KEEP),
            (CUT[1], PART, SOURCE, CLEAR),
            (STACK[2, :9, :8], (0, 0, 9, 8), SOURCE, KEEP),
        ]
    ),
    "restored": animation(
        [
            (STACK[0], WHOLE, SOURCE, KEEP),
            (CUT[1], PART, SOURCE, RESTORE),
            (STACK[2, :9, :8], (0, 0, 9, 8), SOURCE, KEEP),
        ]
    ),
    "colour": animation([(RGB, WHOLE, SOURCE, KEEP), (COLOURS, PART, SOURCE, KEEP)], 2),
}


@pytest.mark.parametrize("name", ANIMATIONS)
def test_an_animation_is_a_stack(name, tmp_path):
    path = placed(ANIMATIONS[name], tmp_path, "a.png")
    frames = pillow_frames(ANIMATIONS[name])
    assert len(frames) > 1
    for number, frame in enumerate(frames):
        found = read(path, str(number))
        np.testing.assert_array_equal(np.broadcast_to(found, frame.shape), frame)
    found = read(path, "max")
    np.testing.assert_array_equal(np.broadcast_to(found, frame.shape), np.max(frames, 0))
    with pytest.raises(ImageError, match=rf"--stack {len(frames)} was wanted, 0 to"):
        read(path, str(len(frames)))


def test_an_animation_beside_the_picture_is_no_stack(tmp_path):
    path = placed(animation(whole_frames(3), still=STACK[5]), tmp_path, "a.png")
    for stack in ("refuse", "max"):
        np.testing.assert_array_equal(read(path, stack)[:, :, 0], STACK[5])


def test_an_animation_that_is_blended_is_not_supported(tmp_path):
    clear = np.dstack([GREY, STACK[3]])
    frames = [(clear, WHOLE, SOURCE, KEEP), (clear, WHOLE, OVER, KEEP)]
    path = placed(animation(frames, 4), tmp_path, "a.png")
    with pytest.raises(ImageError, match="PNG animation of transparent frames is not supported"):
        read(path, "max")


def test_a_frame_larger_than_its_picture_is_refused(tmp_path):
    frames = [(STACK[0], WHOLE, SOURCE, KEEP), (CUT[1], (9, 9, 9 + HEIGHT, 10), SOURCE, KEEP)]
    path = placed(animation(frames), tmp_path, "a.png")
    with pytest.raises(ImageError, match="larger than the picture"):
        read(path, "max")


def test_an_animation_takes_memory_for_three_planes(tmp_path):
    path = placed(ANIMATIONS["whole"], tmp_path, "a.png")
    size = HEIGHT * WIDTH
    with open_image(path, "max", 3 * size), pytest.raises(ImageError, match="of memory"):
        open_image(path, "max", 3 * size - 1)


# ------------------------------------------------------------------------------------------ BMP


@pytest.mark.parametrize("bits", [4, 8])
def test_opencv_or_pillow_can_read_what_run_length_stands_for(bits):
    """The file that is refused is a right one."""
    image = GREY >> (8 - bits)
    found = Image.open(io.BytesIO(run_length_bmp(image, bits))).convert("RGB")
    np.testing.assert_array_equal(np.asarray(found), PALETTE[image])


def test_a_text_that_begins_as_a_bmp_does_is_none(tmp_path):
    path = placed(b"BMI, age, sex\n" * 40, tmp_path, "table.bmp")
    with pytest.raises(ImageError, match="not a complete PNG, JPEG, BMP or TIFF file"):
        read(path)


def test_chunks_that_are_only_called_so_in_a_comment_change_nothing(tmp_path):
    comment = png_chunk(b"tEXt", b"Comment\0acTL fcTL fdAT")
    kind = Kind("a.png", png(GREY, 8, 0, comment), GREY)
    np.testing.assert_array_equal(read(placed(kind.data, tmp_path, kind.name))[:, :, 0], GREY)
