"""Boxes from the user's file: read, or refused with the line that is wrong."""

import json
import os

import numpy as np
import pytest

from app.files.boxes import BoxesError, read_boxes

SQUARE = [[[2, 3], [9.5, 3], [9.5, 8], [2, 8], [2, 3]]]


def feature(coordinates, **properties) -> dict:
    geometry = {"type": "Polygon", "coordinates": coordinates}
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def write(folder, content):
    path = folder / "boxes"
    path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
    return path


def test_rows_of_several_images_in_any_order_of_columns(tmp_path):
    rows = ["\ufeffx1, y1, x0, y0, image, note", '9.5,8,2,3,"a,b.png",first', "4,4,0,0,c.png,"]
    text = "\n".join([*rows, '5,6,1,1,"a,b.png",', ""])
    found = read_boxes(write(tmp_path, text))
    np.testing.assert_array_equal(found["a,b.png"], np.float32([[2, 3, 9.5, 8], [1, 1, 5, 6]]))
    np.testing.assert_array_equal(found["c.png"], np.float32([[0, 0, 4, 4]]))
    assert set(found) == {"a,b.png", "c.png"} and found["c.png"].dtype == np.float32


@pytest.mark.parametrize("only", [None, "one.png"])
def test_the_extents_of_features(only, tmp_path):
    multi = feature([SQUARE, [[[20, 1], [21, 1], [21, 30], [20, 1]]]], image="b.png")
    collection = {"type": "FeatureCollection", "features": [multi]}
    if only:
        collection["features"].append(feature(SQUARE))
    found = read_boxes(write(tmp_path, collection), only)
    np.testing.assert_array_equal(found["b.png"], [[2, 1, 21, 30]])
    assert (only in found) == bool(only)
    np.testing.assert_array_equal(found.get("one.png", [[2, 3, 9.5, 8]]), [[2, 3, 9.5, 8]])


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        ("image,x0,y0,x1\na,1,2,3\n", "has no column y1; a CSV file with the columns"),
        ("", "has no column image, x0, y0, x1, y1"),
        ("image,x0,y0,x1,y1\na,1,2,3,4\na,1,2,x,4\n", "line 3: four numbers were wanted"),
        ("image,x0,y0,x1,y1\na,1,2,3\n", "line 2: an image and numbers with decimal points, 5 f"),
        ("image,x0,y0,x1,y1\na,1,5,2,5,3,5,4,5\n", "line 2: an image and numbers with decimal p"),
        ("x0,y0,x1,y1,image\n1,2,3,4, \n", "line 2: an image and numbers"),
        ("image,x0,y0,x1,y1\na,1,2,1e39,4\n", "is no box"),
        ("image,x0,y0,x1,y1\n" + "a" * 200_000 + ",1,2,3,4\n", "is no CSV (field larger than"),
        ([feature([[[1, 1], [10**400, 5]]], image="a")], "is no GeoJSON"),
        ("image,x0,y0,x1,y1\na,3,2,3,4\n", "line 2: x0 3, y0 2, x1 3, y1 4 is no box"),
        ("image,x0,y0,x1,y1\na,1,2,nan,4\n", "is no box"),
        ([feature(SQUARE)], "feature 0: names no image"),
        ({"features": 3}, "is no GeoJSON"),
        ({"features": [{"geometry": None}]}, "is no GeoJSON"),
        ([feature([], image="a")], "is no GeoJSON"),
        ("[" * 100_000, "is no GeoJSON"),
        ([feature([[[1, 1], [1, 5]]], image="a")], "feature 0: x0 1, y0 1, x1 1, y1 5 is no box"),
    ],
)
def test_what_is_no_box_is_named(content, wanted, tmp_path):
    path = write(tmp_path, content)
    with pytest.raises(BoxesError) as told:
        read_boxes(path)
    assert str(told.value).startswith(str(path)) and wanted in str(told.value)


def test_what_is_no_text(tmp_path):
    (tmp_path / "boxes").write_bytes(b"\xff\xfe\0")
    with pytest.raises(BoxesError, match="is no text"):
        read_boxes(tmp_path / "boxes")
    with pytest.raises(BoxesError, match="can't be read"):
        read_boxes(tmp_path / "gone")


def test_what_is_no_file_can_not_be_known_again(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(BoxesError, match="pipe: is no file; a CSV file with the columns"):
        read_boxes(tmp_path / "pipe")


def test_spaces_around_a_name_and_empty_lines(tmp_path):
    found = read_boxes(write(tmp_path, "image,x0,y0,x1,y1\n\n b.png ,1,2,3,4\n"))
    np.testing.assert_array_equal(found["b.png"], [[1, 2, 3, 4]])
