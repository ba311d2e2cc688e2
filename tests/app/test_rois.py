"""ROIs for ImageJ: the way back to the label image, and what ImageJ's numbers can't hold."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import roifile
import tifffile

from app.files.labels import output_path, result_path
from app.files.stacks import ONE_PLANE, Grid
from app.results.cells import find_boxes
from app.results.outlines import outlines, trace
from app.results.rois import write_rois
from tests.app.imagej_rois import RECT, TRACED, Roi, decode, fill
from tests.app.label_images import ragged

SQUARE = np.ones((2, 2), bool)


def write(path: Path, outlined, grid: Grid = ONE_PLANE) -> list[Roi]:
    """Write cells with their outlines and planes, and read them as ImageJ does."""
    with write_rois(path, grid) as writer:
        for cell, outline, *plane in outlined:
            writer.add(cell, outline, *plane)
    with zipfile.ZipFile(path) as file:
        assert file.testzip() is None
        rois = [decode(file.read(name)) for name in file.namelist()]
        # The list of ImageJ's ROI Manager shows the names of the files.
        assert file.namelist() == [f"{roi.name}.roi" for roi in rois]
    return rois


def write_labels(path: Path, labels: np.ndarray) -> list[Roi]:
    return write(path, outlines(labels, find_boxes(labels, int(labels.max()))))


def rasterise(rois: list[Roi], shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, int)
    for roi in rois:
        labels += fill(roi, 0, 0, shape) * int(roi.name)
    return labels


@pytest.mark.parametrize("seed", range(4))
def test_there_and_back_again(seed, tmp_path):
    labels = ragged(seed)
    rois = write_labels(tmp_path / "x_rois.zip", labels)
    np.testing.assert_array_equal(rasterise(rois, labels.shape), labels)
    assert any(roi.kind == RECT for roi in rois)


def test_real_labels_there_and_back_again(tmp_path):
    labels = tifffile.imread("samples/labels/dsb2018-a5fe0b7412dd_label.tiff")
    rois = write_labels(tmp_path / "x_rois.zip", labels)
    np.testing.assert_array_equal(rasterise(rois, labels.shape), labels)
    assert {roi.kind for roi in rois} == {TRACED}


def test_one_ring_is_as_the_wand_draws_it_and_else_it_is_composite(tmp_path):
    masks = np.ones((1, 1)), np.ones((3, 3)), np.eye(2), np.array([[1, 0, 1]])
    masks[1][1, 1] = 0
    rois = write(tmp_path / "x", [(n, trace(mask > 0, 5, 7)) for n, mask in enumerate(masks)])
    assert [roi.kind for roi in rois] == [TRACED, RECT, RECT, RECT]
    assert [len(roi.rings) for roi in rois] == [1, 2, 2, 2]
    for roi, mask in zip(rois, masks, strict=True):
        np.testing.assert_array_equal(fill(roi, 5, 7, mask.shape), mask > 0)
    assert not fill(rois[1], 5, 7, (3, 3))[1, 1]


@pytest.mark.parametrize("left", [0, 32_760, 60_530, 60_534, 65_530, 200_000, 16_000_000])
@pytest.mark.parametrize("is_wide", [True, False])
def test_far_from_the_corner(left, is_wide, tmp_path):
    mask = np.tri(9, 12, dtype=bool)
    place = (left, 3) if is_wide else (3, left)
    (roi,) = write(tmp_path / "x", [(0, trace(mask, *place))])
    np.testing.assert_array_equal(fill(roi, *place, mask.shape), mask)
    assert (roi.kind == TRACED) == (left < 60_000)


def test_more_corners_than_imagej_counts(tmp_path):
    comb = np.ones((2, 33_000), bool)
    comb[1, ::2] = False
    (roi,) = write(tmp_path / "x", [(0, trace(comb))])
    assert roi.kind == RECT and len(roi.rings[0]) > 2**16
    few = np.ones((2, 32_000), bool)
    few[1, ::2] = False
    (roi,) = write(tmp_path / "x", [(0, trace(few))])
    assert roi.kind == TRACED and len(roi.rings[0]) > 2**15


def test_order_and_names(tmp_path):
    outline = trace(SQUARE)
    rois = write(tmp_path / "x", [(cell, outline) for cell in (10, 0, 2)])
    assert [roi.name for roi in rois] == ["1", "3", "11"]
    assert {(roi.position, roi.place) for roi in rois} == {(0, (0, 0, 0))}


@pytest.mark.parametrize("axis", "ZT")
def test_the_planes_of_a_plain_stack(axis, tmp_path):
    grid = Grid(axis, (4,), ((0,), (3,)))
    rois = write(tmp_path / "x", [(n, trace(SQUARE), plane) for plane, n in ((1, 0), (0, 6))], grid)
    assert [roi.name for roi in rois] == ["0-7", "1-1"]
    assert [(roi.position, roi.place) for roi in rois] == [(1, (0, 0, 0)), (4, (0, 0, 0))]


def test_the_planes_of_a_hyperstack(tmp_path):
    grid = Grid("TZ", (2, 3), ((0, 0), (1, 2)))
    for mask in (SQUARE, np.eye(2, dtype=bool)):
        rois = write(tmp_path / "x", [(0, trace(mask), plane) for plane in (0, 1)], grid)
        assert [(roi.position, roi.place) for roi in rois] == [(0, (0, 1, 1)), (0, (0, 3, 2))]


def test_an_axis_that_imagej_does_not_know_is_any_place(tmp_path):
    grid = Grid("AZ", (2, 3), ((1, 2),))
    (roi,) = write(tmp_path / "x", [(0, trace(SQUARE), 0)], grid)
    assert roi.place == (0, 3, 0) and roi.position == 0


def test_the_same_cells_make_the_same_bytes(tmp_path):
    labels = ragged(1)
    found = list(outlines(labels, find_boxes(labels, int(labels.max()))))
    write(tmp_path / "a.zip", found)
    write(tmp_path / "b.zip", found[::-1])
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip") as file:
        assert {entry.date_time[0] for entry in file.infolist()} == {1980}


def test_roifile_reads_them_too(tmp_path):
    labels = ragged(2)
    rois = write_labels(tmp_path / "x_rois.zip", labels)
    others = roifile.roiread(tmp_path / "x_rois.zip")
    for roi, other in zip(rois, others, strict=True):
        assert other.name == roi.name
        boxes = other.left, other.top, other.right, other.bottom
        corners = np.concatenate(roi.rings)
        assert boxes == (*corners.min(0), *corners.max(0))


def test_no_cell_is_an_empty_file(tmp_path):
    assert write(tmp_path / "x_rois.zip", []) == []


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x_rois.zip"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyError), write_rois(path) as writer:
        writer.add(0, trace(SQUARE))
        raise KeyError
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_they_go():
    assert result_path(output_path(Path("a/n.1.ome.tif"), Path("b")), "rois") == Path(
        "b/n.1_rois.zip"
    )
