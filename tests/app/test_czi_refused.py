"""CZI files that can't be read as one image, are broken or do harm: refused by what they are."""

import re
import tracemalloc

import imagecodecs
import numpy as np
import pytest

from app.files.czi import CziImage
from app.files.open import ImageError, claimed_size, open_image
from tests.app.czi_bytes import JPEG_XR, MASK, PLAIN, SHUFFLED, ZSTD, Tile, czi, metadata
from tests.app.image_bytes import DEEP, GREY, STACK
from tests.app.test_czi import VALUES, put, read


class Broken(Tile):
    """Of other bytes than its pixels give."""

    data = b"\x03\x01\x02" + bytes(50)


class ShuffledFloats(Tile):
    data = b"\x03\x01\x01" + bytes(imagecodecs.zstd_encode(VALUES["f4"].tobytes()))


REFUSED = {
    "2 scenes": [Tile(GREY, plane={"S": 0}), Tile(GREY, (0, 99), {"S": 1})],
    "JPEG": [Tile(GREY, compression=1)],
    "LZW": [Tile(GREY, compression=2)],
    "method 1004": [Tile(GREY, compression=1004)],
    "type 10": [Tile(GREY, pixel_type=10)],
    "pixels of several types": [Tile(GREY), Tile(DEEP, plane={"C": 1})],
    "several files": [Tile(GREY, part=1)],
    "several planes in a subblock": [Tile(GREY, plane={"Z": 0}, depth=3)],
    "an axis Q": [Tile(GREY, plane={"Q": 0})],
    "lower resolution alone": [Tile(GREY), Tile(GREY, plane={"C": 1}, scale=2)],
    "only a part counts": [Tile(GREY, attached=bytes(16) + MASK + bytes(99))],
    "other options": [Broken(GREY, compression=SHUFFLED)],
    "with other options": [ShuffledFloats(VALUES["f4"], compression=SHUFFLED)],
    "257 channels": [Tile(GREY[:1, :1], plane={"C": k}) for k in range(257)],
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_named_with_what_to_do(what, tmp_path):
    with pytest.raises(ImageError, match=rf"a\.czi: .*{what}.*export"):
        read(put(tmp_path, *REFUSED[what]))


def test_the_first_of_several_files_is_read_and_the_others_are_refused(tmp_path):
    with pytest.raises(ImageError, match="CZI of several files is not supported"):
        read(put(tmp_path, Tile(GREY), part=2))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("compression", [PLAIN, JPEG_XR, ZSTD])
def test_files_cut_short_are_refused(compression, share, tmp_path):
    tiles = [Tile(STACK[k], (0, 60 * k), {"M": k}, compression) for k in range(4)]
    data = czi(*tiles, xml=metadata(("a",)))
    path = tmp_path / "a.czi"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=r"a\.czi: not a complete CZI file.*again"):
        read(path)


@pytest.mark.parametrize(
    "data",
    [
        b"text",
        b"ZISRAWFILE",
        czi(),
        czi(Tile(GREY[:0])),
        czi(Tile(GREY[:, :0])),
        czi(Tile(GREY, schema=b"DE")),
    ],
    ids=["text", "magic", "no tiles", "no height", "no width", "schema"],
)
def test_what_holds_no_image_is_not_complete(data, tmp_path):
    (tmp_path / "a.czi").write_bytes(data)
    assert claimed_size(tmp_path / "a.czi").pixels == np.inf
    with pytest.raises(ImageError, match="not a complete CZI file"):
        open_image(tmp_path / "a.czi")


@pytest.mark.parametrize("compression", [PLAIN, JPEG_XR, ZSTD, SHUFFLED])
def test_a_tile_of_another_size_than_it_claims_is_refused(compression, tmp_path):
    class Other(Tile):
        data = Tile(DEEP[:-1], compression=compression).data

    reason = "" if compression == JPEG_XR else f"bytes of a tile, {DEEP.nbytes} were wanted"
    with pytest.raises(ImageError, match=f"not a complete CZI file.*{reason}"):
        read(put(tmp_path, Other(DEEP, compression=compression)))


def test_a_tile_of_another_shape_than_it_claims_is_refused(tmp_path):
    class Turned(Tile):
        data = Tile(DEEP.T, compression=JPEG_XR).data

    with pytest.raises(ImageError, match="not a complete CZI file"):
        read(put(tmp_path, Turned(DEEP, compression=JPEG_XR)))


def test_no_more_is_decoded_than_a_tile_claims(tmp_path):
    class Bomb(Tile):
        data = bytes(imagecodecs.zstd_encode(bytes(10**8)))

    path = put(tmp_path, Bomb(GREY, compression=ZSTD))
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="not a complete CZI file"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 10**7
    finally:
        tracemalloc.stop()


def test_a_directory_that_leads_elsewhere_is_refused(tmp_path):
    class Elsewhere(Tile):
        def entry(self, position):
            return super().entry(0)

    with pytest.raises(ImageError, match="its ZISRAWSUBBLOCK is not there"):
        read(put(tmp_path, Elsewhere(GREY)))


def test_bombs_are_refused_before_they_are_decoded(tmp_path):
    far = put(tmp_path, Tile(GREY), Tile(GREY, (2**30, 2**30)))
    with pytest.raises(ImageError, match="decompression bomb"):
        open_image(far)
    # Of one place and few bytes each, but to be decoded one after the other.
    path = put(tmp_path, *[Tile(np.zeros((2000, 2000), np.uint8), compression=ZSTD)] * 100)
    with pytest.raises(ImageError, match="decompression bomb"):
        open_image(path)
    with CziImage(path, "refuse") as image:
        assert image.decoded_bytes == 100 * 2000**2


def test_all_planes_that_are_read_count_as_decoded(tmp_path):
    path = put(tmp_path, *(Tile(GREY[:1], (0, 0), {"Z": z}) for z in range(3)), Tile(GREY))
    for stack, planes in ("max", 3), ("each", 3), ("2", 1):
        with CziImage(path, stack) as image:
            assert image.decoded_bytes == planes * GREY.size


def test_the_limit_of_memory_counts(tmp_path):
    path = put(tmp_path, Tile(GREY))
    with open_image(path, max_bytes=2 * GREY.size):
        pass
    with pytest.raises(ImageError, match=re.escape("--max-memory")):
        open_image(path, max_bytes=2 * GREY.size - 1)
