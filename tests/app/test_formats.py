"""Every kind of file gives the values it was made of, in whole and in parts; harmful ones end."""

import math
from pathlib import Path

import numpy as np
import pytest

from app.files.open import ImageError, claimed_size, open_image
from tests.app.guarded_reading import read_guarded
from tests.app.hostile_images import Hostile, hostile
from tests.app.image_bytes import STACK, Array
from tests.app.image_kinds import Kind, kinds

KINDS = {kind.name: kind for kind in kinds()}
HOSTILE = {kind.name: kind for kind in hostile()}
READ = [kind for kind in kinds() if kind.expected is not None]
STACKS = ["ome_ZYX.ome.tif", "ome_TYX.ome.tif", "imagej_ZYX.tif", "imagej_TYX.tif"]
# Cut anywhere, these lack pixels; of a pyramid or a stack only what isn't read might be lost.
CUT = [
    *("png_grey8.png", "png_rgb16.png", "png_palette4.png", "png_interlaced.png"),
    *("jpeg_grey.jpg", "jpeg_progressive.jpg", "jpeg_turned.jpg", "bmp_24.bmp", "bmp_palette4.bmp"),
    *("tiff_plain_strips.tif", "tiff_jpeg_tiles.tif", "tiff_zlib_tiles.tif", "tiff_big_tiles.tif"),
    *("tiff_lzw_strips.tif", "tiff_5_samples.tif", "tiff_3_pages.tif", "tiff_separate_tiles.tif"),
]
TAKES = 2  # seconds of the processor at most for a harmful file
TAKES_MEMORY = 2**29  # bytes at most


def placed(kind: Kind | Hostile, folder: Path) -> Path:
    path = folder / kind.name
    path.write_bytes(kind.data)
    return path


def read(path: Path, stack: str = "refuse") -> Array:
    with open_image(path, stack) as image:
        return image[0 : image.shape[0], 0 : image.shape[1]]


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_values_are_those_of_the_file(kind, tmp_path):
    path = placed(kind, tmp_path)
    assert claimed_size(path).pixels == math.prod(kind.expected.shape[:2])
    with open_image(path) as image:
        assert image.shape == kind.expected.shape
        assert image.dtype == kind.expected.dtype
        assert image.dtype.isnative
        found = image[0 : image.shape[0], 0 : image.shape[1]]
    assert (found.shape, found.dtype) == (kind.expected.shape, kind.expected.dtype)
    if kind.loss == 0:
        np.testing.assert_array_equal(found, kind.expected)
    else:
        assert np.abs(found.astype(float) - kind.expected).mean() <= kind.loss


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_a_window_is_a_part_of_the_whole(kind, tmp_path):
    path = placed(kind, tmp_path)
    whole = read(path)
    height, width = whole.shape[:2]
    rng = np.random.default_rng(0)
    corners = [(0, 0, 1, 1), (height - 1, width - 1, height, width)]
    for _ in range(8):
        (top, bottom), (left, right) = (np.sort(rng.integers(0, n, 2)) for n in (height, width))
        corners.append((top, left, bottom + 1, right + 1))
    with open_image(path) as image:  # one image for all windows: what one leaves, another may use
        for top, left, bottom, right in corners:
            window = np.s_[int(top) : int(bottom), int(left) : int(right)]
            np.testing.assert_array_equal(image[window], whole[window])


@pytest.mark.parametrize(
    "kind", [kind for kind in kinds() if kind.expected is None], ids=lambda kind: kind.name
)
def test_what_is_no_image_of_cells_is_refused_by_name(kind, tmp_path):
    with pytest.raises(ImageError, match=f"{kind.name}.*export"):
        read(placed(kind, tmp_path))


@pytest.mark.parametrize("name", STACKS)
def test_a_stack_is_read_as_it_was_asked_for(name, tmp_path):
    path = placed(KINDS[name], tmp_path)
    np.testing.assert_array_equal(read(path, "max")[:, :, 0], STACK[:3].max(0))
    for number in range(3):
        np.testing.assert_array_equal(read(path, str(number))[:, :, 0], STACK[number])
    with pytest.raises(ImageError, match=rf"{name}.*--stack"):
        read(path, "3")


@pytest.mark.parametrize("name", ["ome_ZCYX.ome.tif", "imagej_ZCYX.tif"])
def test_a_stack_with_channels_keeps_them(name, tmp_path):
    path = placed(KINDS[name], tmp_path)
    hyper = STACK[:6].reshape(3, 2, *STACK.shape[1:])
    np.testing.assert_array_equal(read(path, "max"), np.moveaxis(hyper.max(0), 0, 2))
    np.testing.assert_array_equal(read(path, "1"), np.moveaxis(hyper[1], 0, 2))


@pytest.mark.parametrize("name", ["tiff_20_pages.tif", "tiff_20_pages_zlib.tif"])
def test_a_stack_without_axes_is_read_as_it_was_asked_for(name, tmp_path):
    path = placed(KINDS[name], tmp_path)
    np.testing.assert_array_equal(read(path, "max")[:, :, 0], STACK.max(0))
    np.testing.assert_array_equal(read(path, "19")[:, :, 0], STACK[19])


def test_a_guess_is_told(tmp_path, caplog):
    with open_image(placed(KINDS["png_rgb8.png"], tmp_path)):
        assert not caplog.messages
    with open_image(placed(KINDS["tiff_3_pages.tif"], tmp_path)):
        assert any("CYX" in message for message in caplog.messages)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.97])
@pytest.mark.parametrize("name", CUT)
def test_files_cut_short_are_refused(name, share, tmp_path):
    kind = KINDS[name]
    path = placed(Kind(name, kind.data[: int(share * len(kind.data))], None), tmp_path)
    with pytest.raises(ImageError, match=f"{name}.*again"):
        read(path)


@pytest.mark.parametrize("share", [0.5, 0.8])
@pytest.mark.parametrize("name", [*STACKS, "tiff_20_pages.tif", "tiff_20_pages_zlib.tif"])
def test_a_stack_cut_short_is_not_taken_for_a_lower_one(name, share, tmp_path):
    kind = KINDS[name]
    path = placed(Kind(name, kind.data[: int(share * len(kind.data))], None), tmp_path)
    with pytest.raises(ImageError, match=name):
        read(path, "max")


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Of every harmful file, by its name."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [placed(kind, folder) for kind in HOSTILE.values()]
    return {o.path.name: o for o in read_guarded(paths, TAKES, TAKES_MEMORY)}


@pytest.mark.parametrize("name", HOSTILE)
def test_harm_is_refused_in_little_time_and_memory(name, outcomes):
    outcome = outcomes[name]
    assert outcome.good, f"{outcome.what}: {outcome.text}"
    if HOSTILE[name].refused:
        assert outcome.what == "refused", outcome.text
    if outcome.what == "refused":
        assert name in outcome.text
