"""The overlay: what it shows, how large it is, and that neighbours can be told apart."""

import cv2
import numpy as np
import pytest

from app.files.arrays import FileArray
from app.files.labels import output_path, result_path
from app.results import shrink as shrinking
from app.results.cells import find_boxes
from app.results.colours import PALETTE, choose_colours, find_lines
from app.results.overlay import (
    bar_length,
    draw_scale_bar,
    write_overlay,
)
from app.results.shrink import fit, shrink, shrink_labels


def grey(shape, level=40):
    return np.full((*shape, 3), level, np.uint8)


def voronoi(rng, side=160, cells=60):
    """(side, side) labels that cover everything: each pixel is of the nearest of some points."""
    points = rng.random((cells, 2)) * side
    y, x = np.mgrid[:side, :side]
    away = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    _, labels = np.unique(away.argmin(2), return_inverse=True)
    return labels.reshape(side, side).astype(np.uint16) + 1


def written(path, image, labels, **more):
    """The picture as RGB."""
    write_overlay(path, image, labels, find_boxes(labels, int(labels.max())), **more)
    return cv2.imread(str(path))[:, :, ::-1].astype(int)


def test_name_of_the_file(tmp_path):
    assert (
        result_path(output_path(tmp_path / "a.b.ome.tif", tmp_path), "overlay")
        == tmp_path / "a.b_overlay.jpg"
    )


def test_lines_lie_on_the_outermost_pixels_and_the_rest_is_the_image(tmp_path):
    labels = np.zeros((60, 80), np.uint16)
    labels[10:30, 20:50] = 1
    picture = written(tmp_path / "a.jpg", grey(labels.shape), labels)
    assert picture.shape == (60, 80, 3)
    line = np.zeros(labels.shape, bool)
    line[10:30, 20:50] = True
    line[11:29, 21:49] = False
    coloured = np.ptp(picture, axis=2) > 90  # JPEG bends colours a little
    assert (coloured == line).all()
    assert abs(picture[40:, :, :] - 40).max() < 12


def test_image_is_shown_in_its_colours(tmp_path):
    image = grey((40, 40))
    image[:] = 200, 100, 30  # RGB, not BGR
    picture = written(tmp_path / "a.jpg", image, np.zeros((40, 40), np.uint16))
    assert abs(picture - (200, 100, 30)).max() < 12


def test_cells_at_the_edge_are_closed():
    labels = np.ones((5, 6), np.uint16)
    lines = find_lines(labels)
    assert lines.sum() == 2 * (5 + 6) - 4 and not lines[1:-1, 1:-1].any()


def test_touching_cells_both_have_a_line():
    labels = np.repeat([[1, 1, 1, 2, 2, 2]], 7, 0)
    assert find_lines(labels)[3].tolist() == [True, False, True, True, False, True]


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_differ_in_colour(seed):
    labels = voronoi(np.random.default_rng(seed))
    colours = choose_colours(labels, int(labels.max()))
    for one, two in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        differ = one != two
        same = (colours[one[differ]] == colours[two[differ]]).all(1)
        assert differ.any() and not same.any()


def test_cells_with_a_gap_between_them_differ_too():
    # Eight in a row: by turns the one below would have the same of eight colours.
    numbers = np.arange(1, 41).reshape(5, 8)
    labels = np.kron(numbers, np.pad(np.ones((10, 10), int), ((0, 4), (0, 4))))
    colours = choose_colours(labels, 40)[numbers]
    assert (colours[1:] != colours[:-1]).any(2).all()
    assert (colours[:, 1:] != colours[:, :-1]).any(2).all()


def test_all_colours_are_used_about_as_often():
    rng = np.random.default_rng(0)
    labels = voronoi(rng, 200, 160)
    chosen = choose_colours(labels, int(labels.max()))[1:]
    counts = [int((chosen == colour).all(1).sum()) for colour in PALETTE]
    assert min(counts) > 0.6 * max(counts)


def test_a_cell_among_more_neighbours_than_colours_has_one_all_the_same():
    labels = np.zeros((3, 60), int)
    labels[0] = np.arange(60) // 5 + 2  # 12 cells along the side of one
    labels[1:] = 1
    assert len(choose_colours(labels, 13)) == 14


def test_colours_stand_out_from_black_and_from_white():
    unit = PALETTE / 255
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    luminance = linear @ (0.2126, 0.7152, 0.0722)
    assert (1.05 / (luminance + 0.05) > 3.3).all()  # WCAG's contrast
    assert ((luminance + 0.05) / 0.05 > 3.3).all()


@pytest.mark.parametrize(
    "shape, side, wanted",
    [
        ((100, 50), 4096, (100, 50)),
        ((4097, 10), 4096, (4096, 10)),
        ((9000, 12000), 4096, (3072, 4096)),
        ((1, 100_000), 4096, (1, 4096)),
    ],
)
def test_fit(shape, side, wanted):
    assert fit(shape, side) == wanted


def test_shrinking_in_blocks_is_shrinking_as_a_whole(monkeypatch):
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (96, 144, 3), np.uint8)
    labels = voronoi(rng, 144, 30)[:96]
    _, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(96, 144).astype(np.uint16)
    boxes = find_boxes(labels, int(labels.max()))
    whole = cv2.resize(image, (72, 48), interpolation=cv2.INTER_AREA)
    monkeypatch.setattr(shrinking, "_BLOCK", 32)
    assert (shrink(image, (48, 72)) == whole).all()
    assert (shrink_labels(labels, boxes, (48, 72)) == labels[1::2, 1::2]).all()


def test_shrinking_by_a_fraction_keeps_everything_in_place(monkeypatch):
    monkeypatch.setattr(shrinking, "_BLOCK", 64)
    ramp = np.repeat(np.linspace(0, 250, 1000)[None], 700, 0)
    image = np.repeat(ramp[..., None], 3, 2).astype(np.uint8)
    small = shrink(image, (292, 417)).astype(float)
    wanted = (np.arange(417) + 0.5) / 417 * 250
    assert abs(small[:, :, 1] - wanted).max() < 1.5


def test_cells_that_are_smaller_than_a_pixel_are_marked(tmp_path):
    labels = np.zeros((5000, 6000), np.uint16)
    places = [(y, x) for y in range(51, 5000, 700) for x in range(51, 6000, 700)]
    for number, (y, x) in enumerate(places, 1):
        labels[y, x] = number
    boxes = find_boxes(labels, len(places))
    small = shrink_labels(labels, boxes, (500, 600))
    assert np.unique(small).tolist() == list(range(len(places) + 1))
    for number, (y, x) in enumerate(places, 1):
        found = np.argwhere(small == number)
        assert abs(found - (y / 10, x / 10)).max() <= 1
    picture = written(tmp_path / "a.jpg", grey(labels.shape), labels)
    assert picture.shape == (3413, 4096, 3)
    colourful = np.ptp(picture, axis=2)
    for y, x in places:
        top, left = int(y * 0.6827) - 1, int(x * 0.6827) - 1
        assert colourful[top : top + 4, left : left + 4].max() > 40
    assert np.median(colourful) < 5


def test_label_image_in_a_file(tmp_path):
    labels = voronoi(np.random.default_rng(3), 90, 20)
    labels.tofile(tmp_path / "labels")
    in_file = FileArray(tmp_path / "labels", labels.dtype, labels.shape)
    boxes = find_boxes(labels, int(labels.max()))
    for name, given in (("a.jpg", labels), ("b.jpg", in_file)):
        write_overlay(tmp_path / name, grey(labels.shape), given, boxes, (0.5, 0.5))
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_no_cell(tmp_path):
    picture = written(tmp_path / "a.jpg", grey((30, 30)), np.zeros((30, 30), np.uint16))
    assert abs(picture - 40).max() < 5


@pytest.mark.parametrize(
    "most, wanted",
    [(10, 10), (19.9, 10), (20, 20), (49, 20), (137, 100), (0.7, 0.5), (1000, 1000), (5e4, 5e4)],
)
def test_length_of_the_scale_bar(most, wanted):
    assert bar_length(most) == pytest.approx(wanted)


def bar_pixels(picture):
    """Width of the longest white line."""
    rows = (picture > 235).all(2).astype(np.uint8)
    return max(len(run) for row in rows for run in (row + 48).tobytes().split(b"0"))


@pytest.mark.parametrize("width, pixel_size, length", [(800, 0.5, 100), (2000, 0.325, 100)])
def test_scale_bar_is_as_long_as_it_says(width, pixel_size, length):
    picture = grey((width // 2, width), 90)
    draw_scale_bar(picture, pixel_size)
    assert bar_pixels(picture) == round(length / pixel_size)
    assert (picture[: width // 4] == 90).all() and (picture[:, : width // 2] == 90).all()


def test_scale_bar_of_a_picture_that_was_made_smaller(tmp_path):
    labels = np.zeros((1024, 8192), np.uint16)
    picture = written(tmp_path / "a.jpg", grey(labels.shape, 90), labels, pixel_size=(9.0, 0.5))
    assert picture.shape == (512, 4096, 3)
    # A quarter of 4,096 micrometres is 1,024; a pixel of the picture is one micrometre wide.
    assert abs(bar_pixels(picture) - 1000) <= 2


@pytest.mark.parametrize("shape", [(300, 20), (12, 400), (1, 1), (40, 40)])
def test_no_scale_bar_where_there_is_no_room(shape):
    picture = grey(shape, 90)
    draw_scale_bar(picture, 0.5)
    assert (picture == 90).all()
