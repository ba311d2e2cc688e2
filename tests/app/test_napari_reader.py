"""What napari is given of a label image, by the reader alone; tests/system has napari itself."""

import re
import tomllib
import warnings
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app.files.label_stack import LabelWriter
from app.files.labels import Labels, write_label
from app.files.stacks import Grid
from app.results.cells import find_boxes
from app.results.measure import measure
from app.results.napari import get_reader
from app.results.table import on_plane, write_table
from tests.app.label_images import ragged

COUNT = 12
LABELS = ragged(0, count=COUNT)
PIXELS = np.random.default_rng(0).integers(0, 255, (*LABELS.shape, 1), np.uint8)


def made(labels: np.ndarray, dtype: type = np.uint16) -> Labels:
    return Labels(labels.astype(np.uint32), np.arange(int(labels.max()) + 1, dtype=dtype))


def measured(labels: np.ndarray) -> dict[str, np.ndarray]:
    count = int(labels.max())
    scores = np.linspace(0.9, 0.6, count, dtype=np.float32)
    boxes = find_boxes(labels, count)
    return measure(labels, PIXELS, boxes, scores, scores / 2, ("DAPI",), (0.5, 0.25))


def read(path: Path):
    reader = get_reader(str(path))
    assert reader is not None
    ((pixels, about, kind),) = reader(str(path))
    assert kind == "labels"
    return pixels, about


@pytest.fixture
def label(tmp_path):
    """With its table beside it."""
    path = tmp_path / "a.b_label.tiff"
    write_label(path, made(LABELS), (0.5, 0.25))
    write_table(tmp_path / "a.b_cells.csv", [measured(LABELS)])
    return path


def test_one_layer_with_its_scale_and_name(label):
    pixels, about = read(label)
    assert pixels.dtype == np.uint16
    np.testing.assert_array_equal(pixels, LABELS)
    assert about["scale"] == pytest.approx((0.5, 0.25))
    assert about["units"] == ("micrometer", "micrometer")
    assert about["axis_labels"] == ("y", "x") and about["name"] == "a.b_label"


def test_the_features_are_the_table_behind_a_line_of_the_background(label):
    features, columns = read(label)[1]["features"], measured(LABELS)
    assert list(features) == ["index", *list(columns)[1:]]
    for name, values in columns.items():
        of_napari = features["index" if name == "label" else name]
        assert of_napari.dtype.kind == values.dtype.kind, name
        np.testing.assert_allclose(of_napari[1:], values, rtol=1e-5)
        assert not of_napari[0] or np.isnan(of_napari[0])
    assert set(features["touches_edge"].tolist()) == {True, False}
    assert np.isnan(features["score"][0]) and features["index"].tolist() == [*range(COUNT + 1)]


def test_what_could_not_be_measured_is_nan_and_text_stays_text(label):
    table = label.with_name("a.b_cells.csv")
    lines = [f"{n},{n / 4 if n > 1 else ''},cell {n}" for n in range(1, COUNT + 1)]
    table.write_text("\n".join(["label,solidity,kind", *lines]))
    features = read(label)[1]["features"]
    numbers = [np.nan, np.nan, *np.arange(2, COUNT + 1) / 4]
    np.testing.assert_array_equal(features["solidity"], numbers)
    assert features["kind"].tolist()[:2] == ["", "cell 1"]


def test_without_a_table_or_a_pixel_size(tmp_path):
    write_label(tmp_path / "x_label.tiff", made(LABELS))
    pixels, about = read(tmp_path / "x_label.tiff")
    assert about == {"name": "x_label", "axis_labels": ("y", "x")}
    np.testing.assert_array_equal(pixels, LABELS)


def test_an_image_without_cells(label):
    empty = np.zeros_like(LABELS)
    write_label(label, made(empty), (0.5, 0.25))
    write_table(label.with_name("a.b_cells.csv"), [measured(empty)])
    features = read(label)[1]["features"]
    assert len(features) > 20 and {len(values) for values in features.values()} == {1}


@pytest.mark.parametrize(
    "table",
    [
        "",
        "name\nx\n",
        "label,area\n" + "\n".join(f"{n},1" for n in range(1, COUNT)),  # one too few
        "label,area\n" + "\n".join(f"{n},1" for n in range(COUNT)),
        "label,area\n1\n",
        "label\n" + "1" * 200_000,
        "label,area\n1,\xff".encode("latin-1"),
    ],
)
def test_a_table_of_something_else_is_left_out_and_said(table, label):
    path = label.with_name("a.b_cells.csv")
    path.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.warns(UserWarning, match=r"a\.b_cells\.csv: .* have no features"):
        pixels, about = read(label)
    assert about.keys() == {"name", "axis_labels", "scale", "units"}
    np.testing.assert_array_equal(pixels, LABELS)


@pytest.mark.parametrize("pixel_size", [(0.5, 0.25), (30.0, 25.0), None])
def test_a_stack_has_its_axes_and_no_features(pixel_size, tmp_path):
    places = tuple(np.ndindex(2, 3))
    grid = Grid("TZ", (2, 3), places)
    planes = [ragged(seed, count=COUNT) for seed in range(6)]
    path = tmp_path / "s_label.tiff"
    with LabelWriter(path, grid, pixel_size) as writer:
        for plane in planes:
            writer.add(made(plane))
        writer.finish()
    tables = [on_plane(measured(plane), grid, n) for n, plane in enumerate(planes)]
    write_table(tmp_path / "s_cells.csv", tables)
    with warnings.catch_warnings(action="error"):  # that there are none is how it should be
        pixels, about = read(path)
    np.testing.assert_array_equal(pixels, np.reshape(planes, (2, 3, *LABELS.shape)))
    wanted = {"name": "s_label", "axis_labels": ("t", "z", "y", "x")}
    if pixel_size:
        wanted |= {"units": ("pixel", "pixel", "micrometer", "micrometer")}
        assert about.pop("scale") == pytest.approx((1, 1, *pixel_size))
    assert about == wanted


def test_more_cells_than_16_bits_hold(tmp_path):
    count = 70_000
    labels = np.arange(1, count + 1).reshape(250, 280)
    write_label(tmp_path / "x_label.tiff", made(labels, np.uint32), (0.5, 0.25))
    pixels, about = read(tmp_path / "x_label.tiff")
    assert pixels.dtype == np.uint32 and about["scale"] == pytest.approx((0.5, 0.25))
    np.testing.assert_array_equal(pixels, labels)


@pytest.mark.parametrize(
    "array", [np.zeros((8, 9), np.float32), np.zeros((8, 9, 3), np.uint8)], ids=["float", "rgb"]
)
def test_what_is_no_label_image_is_refused(array, tmp_path):
    path = tmp_path / "x_label.tiff"
    tifffile.imwrite(path, array, photometric="rgb" if array.ndim == 3 else "minisblack")
    with pytest.raises(ValueError, match=r"x_label\.tiff: .*open it with napari's own reader"):
        read(path)


@pytest.mark.parametrize("path", ["a.tiff", "a_label.png", ["a_label.tiff", "b_label.tiff"]])
def test_other_files_are_left_to_others(path):
    assert get_reader(path) is None


def test_the_manifest_names_the_reader_and_is_installed():
    project = tomllib.loads(Path("pyproject.toml").read_text())
    entry = project["project"]["entry-points"]["napari.manifest"]["vsm"]
    package, name = entry.split(":")
    assert name in project["tool"]["setuptools"]["package-data"][package]
    manifest = Path(package.replace("vsm", "app", 1).replace(".", "/"), name).read_text()
    module, function = re.findall(r"python_name: (\S+):(\S+)", manifest)[0]
    assert getattr(import_module(module.replace("vsm", "app", 1)), function) is get_reader
    (pattern,) = re.findall(r'filename_patterns: \["\*(.*)"\]', manifest)
    assert get_reader(f"x{pattern}") is not None
