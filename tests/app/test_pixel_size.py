"""Micrometres a pixel, from every place where a file may tell; none are made up."""

import numpy as np
import pytest

from app.files.open import pixel_size
from tests.app.image_bytes import GREY, bmp, jpeg, png, png_chunk
from tests.app.tiff_sets import SLIDES, ome, pixels, read, write


def with_physical(more: str) -> str:
    return ome(pixels("C1", "<TiffData/>", more=more))


SIZES = {
    "OME": ({"description": with_physical('PhysicalSizeX="0.5" PhysicalSizeY="0.25"')}, 0.25, 0.5),
    "OME nm": (
        {
            "description": with_physical(
                'PhysicalSizeX="500" PhysicalSizeXUnit="nm" PhysicalSizeY="1e-3" '
                'PhysicalSizeYUnit="mm"'
            )
        },
        *(1.0, 0.5),
    ),
    "ImageJ": ({"imagej": True, "resolution": (2, 4), "metadata": {"unit": "um"}}, 0.25, 0.5),
    "ImageJ micron": (
        {"imagej": True, "resolution": (2, 4), "metadata": {"unit": "micron"}},
        *(0.25, 0.5),
    ),
    "ImageJ escaped": (
        {"imagej": True, "resolution": (2, 4), "metadata": {"unit": "\\u00B5m"}},
        *(0.25, 0.5),
    ),
    "cm": ({"resolution": (20000, 40000), "resolutionunit": 3}, 0.25, 0.5),
    "inch": ({"resolution": (50800, 25400), "resolutionunit": 2}, 1.0, 0.5),
}


@pytest.mark.parametrize("name", SIZES)
def test_the_size_of_a_pixel(name, tmp_path):
    options, y, x = SIZES[name]
    write(tmp_path / "a.tif", GREY, **options)
    assert pixel_size(tmp_path / "a.tif") == pytest.approx((y, x), rel=1e-4)


def test_the_size_of_a_slide_s_pixel(tmp_path):
    for name, size in ("slide.svs", 0.499), ("slide.qptiff", 0.5):
        (tmp_path / name).write_bytes(SLIDES[name])
        assert pixel_size(tmp_path / name) == pytest.approx((size, size))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"resolution": (72, 72), "resolutionunit": 2},
        {"resolution": (300, 300), "resolutionunit": 2},
        {"resolution": (2, 2), "resolutionunit": 1},
        {"imagej": True, "resolution": (2, 2), "metadata": {"unit": "pixel"}},
        {"description": with_physical('PhysicalSizeX="0.5"')},
        {"description": with_physical('PhysicalSizeX="0" PhysicalSizeY="0"')},
        {"description": with_physical('PhysicalSizeX="nan" PhysicalSizeY="x"')},
        {
            "description": with_physical(
                'PhysicalSizeX="1" PhysicalSizeY="1" PhysicalSizeXUnit="pixel"'
            )
        },
    ],
)
def test_no_size_is_made_up(options, tmp_path):
    write(tmp_path / "a.tif", GREY, **options)
    assert pixel_size(tmp_path / "a.tif") is None
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[:, :, 0], GREY)


def test_the_size_of_a_png_s_pixel(tmp_path):
    def written(across, down, unit):
        chunk = png_chunk(b"pHYs", across.to_bytes(4, "big") + down.to_bytes(4, "big") + unit)
        (tmp_path / "a.png").write_bytes(png(GREY, 8, 0, chunk))
        return pixel_size(tmp_path / "a.png")

    assert written(2_000_000, 4_000_000, b"\1") == pytest.approx((0.25, 0.5))
    assert written(2_000_000, 4_000_000, b"\0") is None  # no unit
    assert written(2835, 2835, b"\1") is None  # 72 dots an inch
    assert written(0, 0, b"\1") is None


@pytest.mark.parametrize("data", [png(GREY, 8, 0), jpeg(GREY), bmp(GREY, 8, palette=True)])
def test_most_pictures_tell_nothing(data, tmp_path):
    (tmp_path / "a").write_bytes(data)
    assert pixel_size(tmp_path / "a") is None
