"""What is measured of cells is what scikit-image measures, in blocks of any size."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.draw import ellipse
from skimage.measure import regionprops_table

from app.files.arrays import FileArray
from app.files.open import read_image
from app.results import hulls
from app.results import measure as module
from app.results.cells import find_boxes
from app.results.ellipses import Moments
from app.results.measure import measure
from app.results.runs import Runs, find_runs

SAMPLES = Path(__file__).parents[2] / "samples"
SHAPES = (
    *("label", "area", "centroid", "bbox", "axis_major_length", "axis_minor_length"),
    *("eccentricity", "orientation", "perimeter", "solidity"),
)
INTENSITIES = "intensity_mean", "intensity_std"


def measured(labels, image=None, names=(), pixel_size=None):
    labels = np.asarray(labels)
    image = np.zeros((*labels.shape, 1), np.uint8) if image is None else image
    count = int(labels.max())
    unknown = np.full(count, np.nan, np.float32)
    given = find_boxes(labels, count), unknown, unknown
    return measure(labels, image, *given, names, pixel_size)


def without_gaps(labels):
    found = np.unique(np.append(0, labels))
    return np.searchsorted(found, labels)


def check_equal(columns, expected):
    """All but rounding: scikit-image's own in eigenvalues that are 0, or in angles of circles."""
    for name, values in expected.items():
        if name == "orientation":
            long = expected["eccentricity"] > 1e-6
            apart = np.abs(columns[name] - values)[long]
            assert (np.minimum(apart, math.pi - apart) < 1e-6).all()
        else:
            np.testing.assert_allclose(columns[name], values, rtol=1e-9, atol=1e-6, err_msg=name)


@st.composite
def label_images(draw):
    shape = draw(arrays.array_shapes(min_dims=2, max_dims=2, max_side=14))
    labels = draw(arrays.arrays(np.uint8, shape, elements=st.integers(0, draw(st.integers(1, 4)))))
    labels = labels.repeat(draw(st.integers(1, 3)), 0).repeat(draw(st.integers(1, 3)), 1)
    return without_gaps(labels)


@pytest.mark.parametrize("path", sorted((SAMPLES / "labels").iterdir()), ids=lambda path: path.stem)
def test_cells_of_samples(path):
    labels = tifffile.imread(path)
    name = path.name.replace("_label.tiff", ".png")
    image = read_image(SAMPLES / "images" / name)
    image = image if image.ndim == 3 else image[:, :, None]
    columns = measured(labels, image)
    check_equal(columns, regionprops_table(labels, image, (*SHAPES, *INTENSITIES)))
    assert len(columns["label"]) == labels.max() >= 20


@settings(max_examples=60, deadline=None)
@given(label_images(), st.integers(1, 40))
@example(np.array([[1]]), 40)  # one pixel
@example(np.array([[1, 1, 1]]), 40)  # lines
@example(np.array([[1], [1]]), 40)
@example(np.eye(5, dtype=int), 40)  # parts that touch at corners
@example(np.eye(5, dtype=int)[::-1], 40)
@example(np.array([[1, 1, 0], [1, 1, 1], [0, 1, 1]]), 40)  # as long down as across: a case apart
@example(np.array([[0, 1, 1], [1, 1, 1], [1, 1, 0]]), 40)
@example(np.array([[1, 0, 1], [0, 2, 0], [1, 0, 1]]), 1)  # parts that are apart
@example(np.pad(np.zeros((3, 3), int), 2, constant_values=1), 40)  # a hole
@example(np.ones((90, 3), int), 7)  # over many blocks
def test_cells_of_any_shape_in_blocks_of_any_size(labels, block):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        patch.setattr(hulls, "_ROWS", block)
        check_equal(measured(labels), regionprops_table(labels, properties=SHAPES))


@settings(max_examples=30, deadline=None)
@given(
    label_images(),
    st.sampled_from(["uint8", "uint16", "int32", "float32", "float64", ">u2"]),
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
)
def test_intensities_of_any_dtype(labels, dtype, seed, block):
    rng = np.random.default_rng(seed)
    image = (rng.random((*labels.shape, 2)) * 250).astype(dtype)
    expected = regionprops_table(labels, image.astype(np.float64), INTENSITIES)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BLOCK", block)
        check_equal(measured(labels, image), expected)


def test_a_small_deviation_on_a_bright_ground_is_kept():
    labels = np.ones((2, 3000), int)  # over three blocks
    image = 4e9 + np.arange(6000.0).reshape(2, 3000, 1) % 2
    columns = measured(labels, image)
    assert columns["intensity_mean-0"] == 4e9 + 0.5
    assert columns["intensity_std-0"] == pytest.approx([0.5], rel=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_pixels_without_a_number_are_left_out_of_the_channel_that_lacks_them(bad):
    labels = np.array([[1, 1, 1, 2], [0, 0, 3, 3]])
    image = np.array([[2.0, bad, 4.0, bad], [bad, 0, 7.0, 7.0]])
    columns = measured(labels, np.dstack([image, np.ones((2, 4))]))
    np.testing.assert_array_equal(columns["intensity_mean-0"], [3, np.nan, 7])
    np.testing.assert_array_equal(columns["intensity_std-0"], [1, np.nan, 0])
    np.testing.assert_array_equal(columns["intensity_mean-1"], [1, 1, 1])


def test_the_largest_floats_give_no_warning():
    columns = measured(np.ones((1, 4), int), np.full((1, 4, 1), 1e308))
    assert columns["intensity_mean-0"] == np.inf


def test_where_an_ellipse_has_no_one_direction():
    """Angles of what is as long down as across, which rounding must not decide."""
    labels = np.zeros((12, 12), int)
    labels[:3, :3] = 1
    labels[5:8, :3], labels[5, 2], labels[7, 0] = 2, 0, 0  # down to the right
    labels[5:8, 5:8], labels[5, 5], labels[7, 7] = 3, 0, 0
    labels[10, :4], labels[:4, 10] = 4, 5
    turns = np.array([-1, 1, -1, 2, 0]) / 4
    np.testing.assert_array_equal(measured(labels)["orientation"], math.pi * turns)


def test_far_from_the_corner_nothing_is_lost():
    """Sums of squares of coordinates have more digits than a number holds."""
    cell = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]])
    near, far = (Moments(np.array([[x, 0, x + 4, 3]])) for x in (0, 2**32))
    for moments, x in ((near, 0), (far, 2**32)):
        moments.add(find_runs(cell, 0, x))
    np.testing.assert_array_equal(far.centroid, near.centroid + np.array([0, 2**32]))
    np.testing.assert_array_equal(far.ellipses(), near.ellipses())


def test_a_long_and_thin_cell():
    """What is left of its minor axis is the difference of numbers of 30 digits."""
    x = np.arange(40_000)
    y = 9 * x // 10
    moments = Moments(np.array([[0, 0, 40_000, 36_000]]))
    moments.add(Runs(0 * x, y, x, 0 * x + 1))
    n = len(x)
    down, across, both = (
        Fraction(n * int(a @ b) - int(a.sum()) * int(b.sum()), n * n)
        for a, b in ((y, y), (x, x), (y, x))
    )
    trace, determinant = down + across, down * across - both**2
    larger = (float(trace) + math.sqrt(trace**2 - 4 * determinant)) / 2
    smaller = float(determinant) / larger
    found = moments.ellipses()
    assert found.axis_major_length == pytest.approx([4 * math.sqrt(larger)], rel=1e-12)
    assert found.axis_minor_length == pytest.approx([4 * math.sqrt(smaller)], rel=1e-12)
    assert 0 < smaller < 1


def test_a_cell_as_large_as_a_slide(tmp_path):
    """The label image stays in its file."""
    height, width = 60, 40_000
    path = tmp_path / "labels"
    np.ones((height, width), np.uint8).tofile(path)
    labels = FileArray(path, np.dtype(np.uint8), (height, width))
    boxes, one = np.array([[0, 0, width, height]]), np.ones(1)
    columns = measure(labels, np.broadcast_to(np.uint8(3), (height, width, 1)), boxes, one, one)
    assert columns["area"] == height * width
    long = 4 * math.sqrt((width**2 - 1) / 12), 4 * math.sqrt((height**2 - 1) / 12)
    assert columns["axis_major_length"] == pytest.approx([long[0]], rel=1e-12)
    assert columns["axis_minor_length"] == pytest.approx([long[1]], rel=1e-12)
    assert columns["perimeter"] == 2 * (height + width) - 4
    assert columns["solidity"] == 1 and columns["intensity_mean-0"] == 3


def test_square_pixels_scale_lengths_and_areas_and_nothing_else():
    labels = tifffile.imread(SAMPLES / "labels" / "dsb2018-ac8169a0debe_label.tiff")
    plain, scaled = measured(labels), measured(labels, pixel_size=(0.25, 0.25))
    for name in plain:
        np.testing.assert_array_equal(plain[name], scaled[name])
    added = set(scaled) - set(plain)
    assert added == {
        *("area_um2", "centroid-0_um", "centroid-1_um"),
        *("axis_major_length_um", "axis_minor_length_um", "perimeter_um"),
    }
    for name in added:
        factor = 0.25**2 if name.endswith("um2") else 0.25
        in_pixels = plain[name.rpartition("_")[0]]
        np.testing.assert_allclose(scaled[name], factor * in_pixels, rtol=1e-12)


def test_pixels_that_are_not_square():
    """Lengths in micrometres, and what has no unit, are those of the cell and not of its pixels."""
    labels = tifffile.imread(SAMPLES / "labels" / "dsb2018-ac8169a0debe_label.tiff")
    size = 0.3, 0.75
    columns = measured(labels, pixel_size=size)
    expected = regionprops_table(labels, properties=SHAPES[:-2], spacing=size)
    pixels = regionprops_table(labels, properties=SHAPES)
    of_cell = {name: expected[name] for name in ("eccentricity", "orientation")}
    check_equal(columns, {name: pixels[name] for name in pixels if name not in of_cell} | of_cell)
    for name in ("area", "centroid-0", "centroid-1", "axis_major_length", "axis_minor_length"):
        unit = "um2" if name == "area" else "um"
        np.testing.assert_allclose(columns[f"{name}_{unit}"], expected[name], rtol=1e-9)


@pytest.mark.parametrize(
    ("size", "longer"), [((0.5, 0.5), 1.055), ((0.5, 1.0), 1.08), ((1.0, 0.4), 1.10)]
)
def test_a_disc_is_round_whatever_its_pixels(size, longer):
    """Its perimeter, along rows, columns and diagonals, is a little too long."""
    radius = 60.0
    labels = np.zeros([int(2 * radius / side) + 20 for side in size], int)
    middle = [side / 2 for side in labels.shape]
    labels[ellipse(*middle, radius / size[0], radius / size[1])] = 1
    columns = measured(labels, pixel_size=size)
    assert 1 < columns["perimeter_um"] / (2 * math.pi * radius) < longer
    assert columns["area_um2"] == pytest.approx([math.pi * radius**2], rel=0.01)
    assert columns["eccentricity"] < 0.1 and 1 > columns["circularity"] > longer**-2


def test_circularity():
    labels = np.zeros((70, 70), int)
    labels[ellipse(34, 34, 30, 30)] = 1
    labels[0, :1], labels[2, :2], labels[4, :9] = 2, 3, 4
    circle, pixel, pair, line = measured(labels)["circularity"]
    assert 0.93 < circle < 0.94  # its perimeter is a little too long
    assert math.isnan(pixel) and math.isnan(pair)  # their perimeter is 0
    assert line == 1  # 4 pi 9 / 7 ** 2 is more


def test_cells_at_each_edge_are_told():
    labels = np.zeros((7, 9), int)
    labels[0, 4], labels[6, 4], labels[3, 0], labels[3, 8], labels[3, 4] = 1, 2, 3, 4, 5
    labels[1, 1], labels[5, 7] = 6, 7
    assert measured(labels)["touches_edge"].tolist() == [True] * 4 + [False] * 3


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ((), "0 1 2"),
        (("DAPI", "CD45", "CD8"), "DAPI CD45 CD8"),
        (("DAPI", "", "CD8"), "DAPI 1 CD8"),
        (("DAPI", "CD8", "CD8"), "DAPI 1 2"),
        (("405", "488", "561"), "405 488 561"),
        (("1", "", "CD8"), "0 1 2"),  # "1" would be both
        (("DAPI", "CD8"), "0 1 2"),
    ],
)
def test_channels_go_by_their_names_or_else_by_number(names, expected):
    columns = measured(np.ones((2, 2), int), np.ones((2, 2, 3)), names)
    found = [name for name in columns if name.startswith("intensity_")]
    assert found == [f"{kind}-{name}" for kind in INTENSITIES for name in expected.split()]


def test_no_cell():
    columns = measured(np.zeros((5, 5), int), pixel_size=(1.0, 1.0))
    assert {len(values) for values in columns.values()} == {0}
    assert list(columns) == list(measured(np.ones((5, 5), int), pixel_size=(1.0, 1.0)))


def test_only_parts_with_cells_are_read(monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", 10)

    class Image:
        shape, dtype, read = (30, 30, 1), np.dtype(np.uint8), []

        def __getitem__(self, window):
            self.read.append(tuple((side.start, side.stop) for side in window))
            return np.zeros([side.stop - side.start for side in window] + [1], np.uint8)

    labels = np.zeros((30, 30), int)
    labels[12:18, 8:12] = 1
    measured(labels, Image())
    assert Image.read == [((10, 20), (0, 10)), ((10, 20), (10, 20))]
