"""A thousand images, some of them broken: every good one is done, every bad one has its reason."""

import json

import numpy as np
import pytest
import tifffile

from tests.app.command_line import labels, picture, report, run_in, write
from tests.app.image_bytes import DEEP, GREY, RGB, jpeg, png, png_chunk, tiff

pytestmark = pytest.mark.smoke

BROKEN = {
    "empty": (b"", "the file is empty"),
    "text": (b"no image at all\n" * 9, "not a complete PNG, JPEG, BMP or TIFF file"),
    "half a PNG": (png(GREY, 8, 0)[:200], "not a complete PNG file"),
    "half a JPEG": (jpeg(RGB)[:300], "not a complete JPEG file"),
    "half a TIFF": (tiff(DEEP)[:-100], "not a complete TIFF file"),
    "a stack": (tiff(np.stack([DEEP] * 9), metadata={"axes": "ZYX"}), "one two-dimensional image"),
    "another format": (b"GIF89a" + bytes(200), "GIF is not supported"),
    "a bomb": (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", b"\0\1\0\0" * 2 + b"\x08\0\0\0\0")
        + png_chunk(b"IDAT", bytes(20))
        + png_chunk(b"IEND"),
        "decompression bomb",
    ),
    "complex numbers": (tiff(DEEP.astype(np.complex64)), "complex64 values"),
    "a folder's list": (json.dumps({"images": []}).encode(), "not a complete"),
}


def test_nine_hundred_and_fifty_of_a_thousand(folder, capsys):
    rng = np.random.default_rng(0)
    kinds = list(BROKEN) * 5
    wanted = dict(zip(rng.choice(1000, 50, replace=False).tolist(), kinds, strict=True))
    for number in range(1000):
        path = folder / "in" / f"{number:03}.{'tif' if number % 3 else 'png'}"
        if number in wanted:
            path.write_bytes(BROKEN[wanted[number]][0])
        else:
            write(path, picture(60 + number % 190))
    assert run_in(folder) == 1
    told = capsys.readouterr().err
    whole, images = report(folder)
    assert (whole["done"], whole["failed"]) == (950, 50) and len(labels(folder)) == 950
    for name, record in images.items():
        kind = wanted.get(int(name[:3]))
        assert (record["status"] == "failed") == (kind is not None)
        if kind is not None:
            assert BROKEN[kind][1] in record["error"] and f"/{name}: " in record["error"]
            assert told.count(record["error"]) == 1
        else:
            label = tifffile.imread(folder / "out" / record["label"])
            assert label.max() == record["instances"] > 0
    assert "950 of 1,000 images done" in told and "50 failed" in told
