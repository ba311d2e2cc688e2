"""``--stack each``: every plane by itself, all in one label stack with the axes of the image."""

import tracemalloc

import numpy as np
import pytest
import tifffile

from app.files import label_stack as label_stack_module
from app.files import labels as labels_module
from app.files.label_stack import LabelWriter
from app.files.labels import Labels, open_canvas
from app.files.open import ImageError, claimed_size, open_image
from app.files.stacks import ONE_PLANE, Grid, arrange, planes_of
from app.outcome import Prediction
from app.predict import Predictor
from app.request import Request
from app.stack import segment_planes
from app.stopwatch import Stopwatch
from app.trial import Choice
from tests.app.command_line import IMAGE, TOY, outputs
from tests.app.image_bytes import pages
from tests.app.made_stacks import GROUND, LOOK, SHAPED, planes, write_ome
from tests.app.odd_images import KEEP, SOURCE, animation
from tests.app.tiff_sets import write_set


def cut(planes: np.ndarray) -> np.ndarray:
    """To the size of ``STACK``, of which ``write_set`` tells."""
    return np.ascontiguousarray(np.pad(planes, ((0, 0), (0, 0), (0, 9)))[:, :41, :59])


WHOLE = (0, 0, *IMAGE.shape)
FRAMES = [(plane, WHOLE, SOURCE, KEEP) for plane in planes(4)]
RGB = np.stack([SHAPED[0], SHAPED[0] // 2, SHAPED[1]], -1)
STACKS = {
    "time_and_depth.ome.tif": (lambda path: write_ome(path, SHAPED, "TZYX"), "TZ", (2, 3)),
    "depth_and_time.ome.tif": (lambda path: write_ome(path, SHAPED, "ZTYX"), "ZT", (2, 3)),
    "channels.ome.tif": (
        lambda path: write_ome(path, planes(12).reshape(2, 2, 3, *IMAGE.shape), "TCZYX"),
        *("TZ", (2, 3)),
    ),
    "channels_first.ome.tif": (
        lambda path: write_ome(path, planes(12).reshape(2, 2, 3, *IMAGE.shape), "CTZYX"),
        *("TZ", (2, 3)),
    ),
    "angles.ome.tif": (
        lambda path: write_ome(path, planes(12).reshape(2, 2, 3, *IMAGE.shape), "TAZYX"),
        *("TAZ", (2, 2, 3)),
    ),
    "rgb.ome.tif": (
        lambda path: write_ome(path, RGB, "ZYXS", photometric="rgb"),
        *("Z", (3,)),
    ),
    "imagej.tif": (
        lambda path: tifffile.imwrite(path, SHAPED, imagej=True, metadata={"axes": "TZYX"}),
        *("TZ", (2, 3)),
    ),
    "pages.tif": (lambda path: path.write_bytes(pages(planes(9))), "Z", (9,)),
    "unnamed.tif": (
        lambda path: tifffile.imwrite(path, planes(99).reshape(9, 11, *IMAGE.shape)),
        *("TZ", (9, 11)),
    ),
    "animation.png": (lambda path: path.write_bytes(animation(FRAMES)), "T", (4,)),
}


@pytest.fixture(scope="module")
def predictor():
    return Predictor(TOY, "cpu", 1)


@pytest.mark.parametrize("name", STACKS)
def test_each_plane_is_what_it_is_alone(name, tmp_path, predictor):
    make, axes, lengths = STACKS[name]
    make(tmp_path / name)
    outcome = predictor.predict_file(tmp_path / name, tmp_path / "all.tiff", Request("each"))
    with tifffile.TiffFile(tmp_path / "all.tiff") as file:
        (series,) = file.series
        assert file.is_ome and (series.axes, series.dtype) == (f"{axes}YX", np.uint16)
        assert all(page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE for page in file.pages)
        found = series.asarray()
    assert found.shape == (*lengths, *IMAGE.shape)
    assert (outcome.grid.axes, outcome.grid.lengths) == (axes, lengths)
    assert outcome.grid.positions == tuple(np.ndindex(lengths))
    counts = []
    for number, place in enumerate(outcome.grid.positions):
        one = predictor.predict_file(tmp_path / name, tmp_path / "one.tiff", Request(str(number)))
        np.testing.assert_array_equal(found[place], tifffile.imread(tmp_path / "one.tiff"))
        plane = outcome.planes[number]
        assert plane.instances == one.instances == found[place].max()
        assert plane.choice.look == one.choice.look
        counts.append(one.instances)
    assert outcome.instances == sum(counts) and len(set(counts)) > 1
    assert outputs(tmp_path) == sorted([name, "all.tiff", "one.tiff"])


def test_all_planes_count_where_axes_have_no_names(tmp_path):
    STACKS["unnamed.tif"][0](tmp_path / "a.tif")
    with open_image(tmp_path / "a.tif", "max") as image:
        np.testing.assert_array_equal(image[:, :][:, :, 0], planes(99).max(0))


def test_a_single_plane_has_the_label_image_of_an_image(tmp_path, predictor):
    write_ome(tmp_path / "a.ome.tif", planes(1)[None], "TZYX")
    (tmp_path / "a.png").write_bytes(animation(FRAMES[:1]))
    for name in ("a.ome.tif", "a.png"):
        for way in ("refuse", "each"):
            found = predictor.predict_file(tmp_path / name, tmp_path / f"{way}.tiff", Request(way))
            assert not found.planes and found.grid == ONE_PLANE and found.instances == 2
        assert (tmp_path / "each.tiff").read_bytes() == (tmp_path / "refuse.tiff").read_bytes()


def test_the_same_labels_are_the_same_bytes(tmp_path, predictor):
    STACKS["pages.tif"][0](tmp_path / "a.tif")
    for name in ("one.tiff", "two.tiff"):
        predictor.predict_file(tmp_path / "a.tif", tmp_path / name, Request("each"))
    assert (tmp_path / "one.tiff").read_bytes() == (tmp_path / "two.tiff").read_bytes()


# ----------------------------------------------------------------------------- places of planes


def test_planes_keep_their_places_where_others_are_missing(tmp_path, predictor, caplog):
    paths = write_set(tmp_path, "T", cut(planes(6)), [{}] * 6)
    for gone in (1, 4, 5):
        paths[gone].unlink()
    outcome = predictor.predict_file(paths[0], tmp_path / "all.tiff", Request("each"))
    found = tifffile.imread(tmp_path / "all.tiff")
    # What is missing at the end is left out; a gap is an empty plane.
    assert outcome.grid == Grid("T", (4,), ((0,), (2,), (3,)))
    assert found.shape == (4, 41, 59) and not found[1].any()
    for number, (place,) in enumerate(outcome.grid.positions):
        predictor.predict_file(paths[0], tmp_path / "one.tiff", Request(str(number)))
        np.testing.assert_array_equal(found[place], tifffile.imread(tmp_path / "one.tiff"))
        assert found[place].any()
    assert "tells of 6 planes, 3 are there" in caplog.text


@pytest.mark.parametrize(
    ("axes", "positions", "grid"),
    [
        ("", [()], ONE_PLANE),
        ("T", [(0,)], ONE_PLANE),
        ("TZ", [(4, 7)], ONE_PLANE),
        ("TZ", [(0, 0), (0, 3)], Grid("Z", (4,), ((0,), (3,)))),
        ("TZ", [(0, 0), (1, 1)], Grid("TZ", (2, 2), ((0, 0), (1, 1)))),
        ("Q", [(0,), (1,)], Grid("Z", (2,), ((0,), (1,)))),
        ("IZ", [(0, 0), (1, 1)], Grid("TZ", (2, 2), ((0, 0), (1, 1)))),
        ("IT", [(0, 0), (1, 1)], Grid("ZT", (2, 2), ((0, 0), (1, 1)))),
        ("QQ", [(0, 0), (1, 1)], Grid("TZ", (2, 2), ((0, 0), (1, 1)))),
    ],
)
def test_axes_of_planes(axes, positions, grid, tmp_path):
    assert arrange(tmp_path, axes, positions) == grid


@pytest.mark.parametrize("axes", ["QQQ", "TZQ", "APRH"])
def test_axes_that_ome_has_no_names_for(axes, tmp_path):
    with pytest.raises(
        ImageError, match=rf"a.tif: its planes lie along the axes {axes}, .*--stack"
    ):
        arrange(tmp_path / "a.tif", axes, list(np.ndindex((2,) * len(axes))))


def test_a_grid_that_is_nearly_empty_is_no_image(tmp_path):
    text = (
        '<OME><Image><Pixels DimensionOrder="XYCZT" Type="uint8" SizeX="400" SizeY="400" '
        'SizeZ="1" SizeC="1" SizeT="99000"><TiffData IFD="0" FirstT="0" PlaneCount="1"/>'
        '<TiffData IFD="1" FirstT="98999" PlaneCount="1"/></Pixels></Image></OME>'
    )
    noise = np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for number in range(2):
            options = {"metadata": None, "description": None if number else text}
            writer.write(noise, photometric="minisblack", compression="zlib", **options)
    with open_image(tmp_path / "a.tif", "max") as image:
        assert image.shape == (400, 400, 1)
    with pytest.raises(ImageError, match="decompression bomb"):
        open_image(tmp_path / "a.tif", "each")


def test_how_many_pixels_a_stack_has(tmp_path):
    for name, (make, _, lengths) in STACKS.items():
        make(tmp_path / name)
        pixels = IMAGE.size * np.prod(lengths) if name.endswith(".tif") else np.inf
        assert claimed_size(tmp_path / name, "each").pixels == pixels
        assert claimed_size(tmp_path / name, "max").pixels == IMAGE.size


# ------------------------------------------------------------------------------- the label stack


@pytest.mark.parametrize("most", [2**28, 0])
@pytest.mark.parametrize("counts", [(3, 70_000, 0), (3, 9, 0)])
def test_all_planes_are_of_the_depth_that_one_needs(counts, most, tmp_path, monkeypatch):
    monkeypatch.setattr(labels_module, "_MAX_IN_MEMORY", most)
    monkeypatch.setattr(label_stack_module, "_MAX_CLASSIC", most)
    rng = np.random.default_rng(0)
    grid = Grid("TZ", (2, 2), ((0, 0), (0, 1), (1, 1)))  # with a gap
    wanted = np.zeros((2, 2, 530, 520), np.uint32)
    with LabelWriter(tmp_path / "a.tiff", grid) as writer:
        for place, count in zip(grid.positions, counts, strict=True):
            wanted[place] = rng.integers(0, count + 1, wanted.shape[2:])
            dtype = np.uint16 if count < 2**16 else np.uint32
            with open_canvas(wanted.shape[2:], tmp_path / "canvas") as canvas:
                canvas[:, :] = wanted[place]
                writer.add(Labels(canvas, np.arange(count + 1, dtype=dtype)))
        writer.finish()
    with tifffile.TiffFile(tmp_path / "a.tiff") as file:
        assert file.series[0].axes == "TZYX"
        assert file.series[0].dtype == (np.uint32 if max(counts) > 65_535 else np.uint16)
        assert file.pages[0].is_tiled == file.is_bigtiff == (most == 0)
        np.testing.assert_array_equal(file.asarray(), wanted)
    assert outputs(tmp_path) == ["a.tiff"]


@pytest.mark.parametrize("name", ["pages.tif", "animation.png"])
def test_half_a_label_stack_is_none(name, tmp_path, predictor):
    broken = tmp_path / name
    if name.endswith("png"):
        STACKS[name][0](broken)
        data = broken.read_bytes()
        place = data.rindex(b"fdAT") + 4 + 4 + 20
    else:
        broken.write_bytes(pages(planes(9), compression="zlib"))
        data = broken.read_bytes()
        with tifffile.TiffFile(broken) as file:
            place = file.pages[3].dataoffsets[0] + 20
    broken.write_bytes(data[:place] + bytes(40) + data[place + 40 :])
    (tmp_path / "a.tiff").write_bytes(b"an earlier one")
    with pytest.raises(ImageError, match=rf"{name}: .* \(plane 3\)$"):
        predictor.predict_file(broken, tmp_path / "a.tiff", Request("each"))
    assert (tmp_path / "a.tiff").read_bytes() == b"an earlier one"
    assert outputs(tmp_path) == ["a.tiff", name]


def test_memory_does_not_grow_with_the_number_of_planes(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (32, 300, 500), dtype=np.uint8)

    def predict(image, canvas):
        canvas[:, :] = image[:, :][:, :, 0]
        canvas[:9] = 3
        labels = Labels(canvas, np.arange(256, dtype=np.uint16))
        found = np.zeros((9999, 4), np.float32), np.zeros(9999, np.float32)
        return Prediction(labels, *found, found[1], Choice(LOOK, LOOK, (), {}, found, GROUND, 0.0))

    def peak(count: int) -> int:
        path = tmp_path / f"{count}.tif"
        path.write_bytes(pages(noise[:count], compression="zlib", rowsperstrip=50))
        tracemalloc.start()
        with open_image(path, "each") as image:
            grid, found = planes_of(image)
            with LabelWriter(tmp_path / "a.tiff", grid) as writer:
                segment_planes(found, grid, writer, None, Stopwatch(), predict)
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    peak(2)  # what is imported and kept for ever
    assert peak(32) < peak(4) + noise[0].nbytes


def test_progress_is_told_by_planes(tmp_path, predictor):
    STACKS["animation.png"][0](tmp_path / "a.png")
    told = []
    predictor.predict_file(
        tmp_path / "a.png",
        tmp_path / "a.tiff",
        Request("each"),
        progress=lambda *step: told.append(step),
    )
    assert told == [("planes", done, 4) for done in range(5)]
