"""GeoJSON: by QuPath's rules, and the way back to the label image."""

import copy
import gzip
import json
import tracemalloc
import uuid
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import shapely
import tifffile

from app.files.labels import output_path, result_path
from app.files.stacks import Grid
from app.results.cells import find_boxes
from app.results.geojson import Measurements, write_geojson
from app.results.outlines import outlines
from tests.app.label_images import ragged
from tests.app.slow_outlines import pixels_in

SCHEMA = json.loads(Path(__file__).with_name("qupath.schema.json").read_text(encoding="utf-8"))
SQUARE = [[np.array([[0, 0], [2, 0], [2, 2], [0, 2], [0, 0]])]]
NOTHING = Measurements({})


def check(collection: dict) -> None:
    """By QuPath's rules, those that a schema can't hold included."""
    jsonschema.Draft202012Validator(SCHEMA).validate(collection)
    for feature in collection["features"]:
        geometry = feature["geometry"]
        polygons = geometry["coordinates"]
        for polygon in [polygons] if geometry["type"] == "Polygon" else polygons:
            assert all(ring[0] == ring[-1] for ring in polygon)
        shape = shapely.geometry.shape(geometry)
        assert shape.is_valid, shapely.is_valid_reason(shape)
    ids = [feature["id"] for feature in collection["features"]]
    assert len(set(ids)) == len(ids)


def write(path: Path, labels: np.ndarray, columns: dict | None = None, image="x.png") -> dict:
    with write_geojson(path, image) as writer:
        for cell, outline in outlines(labels, find_boxes(labels, int(labels.max()))):
            writer.add(cell, outline, Measurements(columns or {}))
    data = path.read_bytes()
    return json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)


def rasterise(collection: dict, shape: tuple[int, int]) -> np.ndarray:
    labels = np.zeros(shape, int)
    for feature in collection["features"]:
        inside = pixels_in(shapely.geometry.shape(feature["geometry"]), shape)
        assert not labels[inside].any()
        labels[inside] = int(feature["properties"]["name"])
    return labels


@pytest.mark.parametrize("seed", range(6))
def test_there_and_back_again(seed, tmp_path):
    labels = ragged(seed)
    collection = write(tmp_path / "x.geojson", labels)
    check(collection)
    np.testing.assert_array_equal(rasterise(collection, labels.shape), labels)
    kinds = {feature["geometry"]["type"] for feature in collection["features"]}
    assert "MultiPolygon" in kinds


def test_real_labels_there_and_back_again(tmp_path):
    labels = tifffile.imread("samples/labels/dsb2018-a5fe0b7412dd_label.tiff")
    collection = write(tmp_path / "x.geojson", labels)
    check(collection)
    np.testing.assert_array_equal(rasterise(collection, labels.shape), labels)


def test_one_line_a_cell_in_the_order_of_labels(tmp_path):
    labels = np.zeros((9, 9000), np.uint8)
    labels[2:5, [8000, 10, 4000]] = 1, 2, 3  # in three blocks, in another order
    write(tmp_path / "x.geojson", labels)
    first, *lines, last = (tmp_path / "x.geojson").read_text(encoding="utf-8").splitlines()
    assert first == '{"type":"FeatureCollection","features":[' and last == "]}"
    features = [json.loads(line.rstrip(",")) for line in lines]
    assert [feature["properties"]["name"] for feature in features] == ["1", "2", "3"]
    assert [feature["geometry"]["coordinates"][0][0][0] // 1000 for feature in features] == [
        8,
        0,
        4,
    ]


@pytest.mark.parametrize(
    "where, value",
    [
        (("type",), "Feature"),
        (("features", 0, "id"), "17"),
        (("features", 0, "properties", "objectType"), "annotation"),
        (("features", 0, "properties", "measurements", "Score"), "0.5"),
        (("features", 0, "properties", "measurements", "Score"), True),
        (("features", 0, "properties", "measurements", "Score"), None),
        (("features", 0, "properties", "classification"), {"name": "Tumor"}),
        (("features", 0, "geometry", "plane"), {"z": 1, "t": 0}),
        (("features", 0, "geometry", "type"), "MultiPolygon"),
        (("features", 0, "geometry", "coordinates", 0, 0), [0.5, 0]),
        (("features", 0, "geometry", "coordinates", 0, 0), [1, 0]),
        (("features", 0, "geometry", "coordinates", 0, 2), [-1, 0]),
        (("features", 1, "geometry", "coordinates", 0), [[0, 0], [2, 2], [2, 0], [0, 2], [0, 0]]),
    ],
)
def test_the_check_can_fail(where, value, tmp_path):
    labels = np.array([[1, 1, 2, 2], [1, 1, 2, 2]], np.uint8)
    good = write(tmp_path / "x.geojson", labels, {"score": np.array([0.5, 0.25])})
    check(good)
    bad = copy.deepcopy(good)
    place = bad
    for key in where[:-1]:
        place = place[key]
    place[where[-1]] = value
    with pytest.raises((jsonschema.ValidationError, AssertionError)):
        check(bad)


def test_measurements_have_names_as_in_qupath():
    columns = {
        "plane": np.array([3]),
        "T": np.array([3]),
        "label": np.array([1]),
        "area": np.array([12]),
        "centroid-0": np.array([0.5]),
        "bbox-3": np.array([4]),
        "axis_major_length": np.array([4.5]),
        "orientation": np.array([-0.5]),
        "perimeter": np.array([1 / 3]),
        "intensity_mean-a_um": np.array([100.0]),
        "intensity_std-0": np.array([np.inf]),
        "score": np.array([0.7], np.float32),
        "mask_confidence": np.array([np.nan], np.float32),
        "touches_edge": np.array([True]),
    }
    measured = Measurements(columns).of(0)
    assert measured == {
        "Area px^2": 12,
        "Major axis length px": 4.5,
        "Orientation (radians)": -0.5,
        "Perimeter px": 0.333333333,
        "a_um: Mean": 100.0,
        "Score": 0.7,
        "Touches edge": 1,
    }
    assert type(measured["Touches edge"]) is int and type(measured["Area px^2"]) is int
    micrometres = {"area_um2": 3.0, "axis_major_length_um": 2.25, "perimeter_um": 7.0}
    columns |= {name: np.array([value]) for name, value in micrometres.items()}
    columns["centroid-0_um"] = np.array([0.25])
    scaled = Measurements(columns).of(0)
    assert scaled["Area µm^2"] == 3 and scaled["Major axis length µm"] == 2.25
    assert scaled["Perimeter µm"] == 7 and not [name for name in scaled if "px" in name]
    assert len(scaled) == len(measured)


def test_each_cell_has_its_own_measurements(tmp_path):
    labels = np.array([[2, 0, 1], [0, 0, 1]], np.uint8)
    collection = write(tmp_path / "x.geojson", labels, {"score": np.array([0.9, 0.1])})
    found = [feature["properties"]["measurements"] for feature in collection["features"]]
    assert found == [{"Score": 0.9}, {"Score": 0.1}]


@pytest.mark.parametrize("name", ["x.geojson", "x.geojson.gz"])
def test_the_same_cells_make_the_same_bytes(name, tmp_path):
    labels = ragged(3)
    found = list(outlines(labels, find_boxes(labels, int(labels.max()))))
    (tmp_path / "other").mkdir()
    paths = tmp_path / name, tmp_path / "other" / name
    for path, cells in zip(paths, (found, found[::-1]), strict=True):
        with write_geojson(path, "x.png") as writer:
            for cell, outline in cells:
                writer.add(cell, outline, NOTHING)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    if name.endswith(".gz"):
        assert paths[0].read_bytes()[4:8] == bytes(4)  # no date
    assert write(tmp_path / "plain.geojson", labels) == write(tmp_path / "z.geojson.gz", labels)


def test_planes_of_a_stack(tmp_path):
    grid = Grid("TZ", (2, 2), ((0, 0), (0, 1), (1, 1)))
    with write_geojson(tmp_path / "x.geojson", "x.tif", grid) as writer:
        for plane in (2, 0, 1):
            writer.add(0, SQUARE, NOTHING, plane)
    collection = json.loads((tmp_path / "x.geojson").read_text(encoding="utf-8"))
    check(collection)
    planes = [feature["geometry"]["plane"] for feature in collection["features"]]
    assert planes == [{"c": -1, "z": z, "t": t} for t, z in grid.positions]


def test_an_image_of_one_plane_has_none(tmp_path):
    collection = write(tmp_path / "x.geojson", np.ones((2, 2), np.uint8))
    assert "plane" not in collection["features"][0]["geometry"]


def test_ids_are_those_of_the_image(tmp_path):
    labels = np.array([[1, 2]], np.uint8)
    ids = [
        [
            feature["id"]
            for feature in write(tmp_path / "x.geojson", labels, image=image)["features"]
        ]
        for image in ("a.png", "a.png", "b.png")
    ]
    assert ids[0] == ids[1] and not set(ids[0]) & set(ids[2])
    assert uuid.UUID(ids[0][0]).version == 5


def test_no_cell_is_no_feature(tmp_path):
    collection = write(tmp_path / "x.geojson", np.zeros((3, 3), np.uint8))
    check(collection)
    assert collection["features"] == []


def test_names_that_are_no_unicode(tmp_path):
    columns = {"intensity_mean-\udce9": np.array([1.0])}
    collection = write(tmp_path / "x.geojson", np.ones((1, 1), np.uint8), columns, "\udce9.png")
    check(collection)
    assert collection["features"][0]["properties"]["measurements"] == {"\\udce9: Mean": 1}


def test_an_error_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "x.geojson"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyError), write_geojson(path, "x.png") as writer:
        writer.add(0, SQUARE, NOTHING)
        raise KeyError
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_cells_wait_on_the_disk(tmp_path):
    along = np.arange(1000)
    comb = np.stack((np.repeat(along, 2), np.tile([0, 1, 1, 0], 500)), 1)
    peaks = []
    for count in (20, 200):
        tracemalloc.start()
        with write_geojson(tmp_path / "x.geojson", "x.png") as writer:
            for cell in range(count):
                writer.add(cell, [[comb]], NOTHING)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    grown = (tmp_path / "x.geojson").stat().st_size * 180 / 200
    assert grown > 2e6 and peaks[1] - peaks[0] < grown / 20


def test_where_it_goes():
    assert result_path(output_path(Path("a/n.1.ome.tif"), Path("b")), "geojson") == Path(
        "b/n.1.geojson"
    )
    assert result_path(output_path(Path("a/n.png"), Path("b")), "geojson.gz") == Path(
        "b/n.geojson.gz"
    )
