"""Outlines: valid by OGC's rules, equal to the slow twin's, and the way back to the pixels."""

from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from app.files.arrays import FileArray
from app.results import cells
from app.results.cells import find_boxes
from app.results.outlines import outlines, trace
from tests.app.slow_outlines import canonical, pixels_in, slow_outline

SHAPES = {
    "one pixel": ["#"],
    "line": ["####"],
    "parts": ["##..#", "##..#"],
    "parts that touch": ["#.", ".#"],
    "checkerboard": ["#.#.#", ".#.#.", "#.#.#"],
    "hole": ["###", "#.#", "###"],
    "four around nothing": [".#.", "#.#", ".#."],
    "hole that touches the outside": ["###", "#.#", "##."],
    "hole that does by another one": ["###.", "#.#.", "##.#", "####"],
    "two holes that touch": ["####", "#.##", "##.#", "####"],
    "holes in a chain": ["#####", "#.###", "##.##", "###.#", "#####"],
    "hole that touches itself": ["#####", "##.##", "#.#.#", "##.##", "#####"],
    "pixel in a hole": ["#####", "#...#", "#.#.#", "#...#", "#####"],
    "ring in a hole": ["#######", "#.....#", "#.###.#", "#.#.#.#", "#.###.#", "#.....#", "#######"],
    "spiral": ["#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"],
    "spiral that closes": ["######", "#.....", "#.####", "#.#..#", "#.##.#", "#....#", "######"],
    "comb": ["#.#.#.#", "#######", "#.#.#.#"],
}
MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(
    lambda shape: arrays.arrays(bool, shape, elements=st.booleans(), fill=st.nothing())
)


def as_mask(rows: list[str]) -> np.ndarray:
    return np.array([[pixel == "#" for pixel in row] for row in rows])


def check(mask: np.ndarray) -> None:
    outline = trace(mask)
    for part in outline:
        for ring in part:
            assert ring[0].tolist() == ring[-1].tolist()
        polygon = shapely.Polygon(part[0], part[1:])
        assert polygon.is_valid, shapely.is_valid_reason(polygon)
        ways = [shapely.LinearRing(ring).is_ccw for ring in part]
        assert ways == [ways[0]] + [not ways[0]] * (len(part) - 1)
    whole = shapely.MultiPolygon([(part[0], part[1:]) for part in outline])
    assert whole.is_valid, shapely.is_valid_reason(whole)
    np.testing.assert_array_equal(pixels_in(whole, mask.shape), mask)
    # The same parts with the same corners, none of them in the middle of a side.
    open_rings = [[ring[:-1] for ring in part] for part in outline]
    assert canonical(open_rings) == canonical(slow_outline(mask))


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_that_are_hard(name):
    mask = as_mask(SHAPES[name])
    for turns in range(4):
        check(np.rot90(mask, turns))
        check(np.rot90(mask, turns)[::-1])


def test_every_mask_of_three_by_three():
    for number in range(1, 2**9):
        check(np.array([number >> bit & 1 for bit in range(9)], bool).reshape(3, 3))


@settings(deadline=None, max_examples=100)
@given(MASKS)
def test_any_mask(mask):
    mask[0, 0] |= not mask.any()
    check(mask)


def test_known_outlines():
    (part,) = trace(as_mask(SHAPES["hole"]), 10, 20)
    around, hole = (shapely.Polygon(ring) for ring in part)
    assert around.equals(shapely.box(10, 20, 13, 23)) and hole.equals(shapely.box(11, 21, 12, 22))
    assert [len(ring) for ring in part] == [5, 5]
    touching = trace(as_mask(SHAPES["hole that touches the outside"]))
    assert [len(part) for part in touching] == [2]


def test_large_coordinates_stay_whole():
    ((ring,),) = trace(np.ones((2, 3), bool), 10**8, 3 * 10**8)
    assert shapely.Polygon(ring).bounds == (1e8, 3e8, 1e8 + 3, 3e8 + 2)


@pytest.mark.parametrize("block", [2048, 100])
def test_of_all_cells_of_a_file(block, tmp_path, monkeypatch):
    sample = Path("samples/labels/dsb2018-f6863b83d75e_label.tiff")
    labels = tifffile.imread(sample)[:, :200]
    labels = np.unique(labels, return_inverse=True)[1].astype(np.uint32)
    (tmp_path / "labels").write_bytes(labels.tobytes())
    monkeypatch.setattr(cells, "_BLOCK", block)
    file = FileArray(tmp_path / "labels", labels.dtype, labels.shape)
    again = np.zeros_like(labels)
    for cell, outline in outlines(file, find_boxes(file, int(labels.max()))):
        whole = shapely.MultiPolygon([(part[0], part[1:]) for part in outline])
        again += pixels_in(whole, labels.shape) * np.uint32(cell + 1)
    np.testing.assert_array_equal(again, labels)
