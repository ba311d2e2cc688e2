"""A real ImageJ opens what was written, and measures the same cells.

Debian's packages imagej and xvfb, for ImageJ measures ROIs in a window alone; skipped where one of
them is missing.
"""

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from app.files.label_stack import LabelWriter
from app.files.labels import Labels, write_label
from app.files.stacks import ONE_PLANE, Grid
from app.results.cells import find_boxes
from app.results.outlines import outlines
from app.results.rois import write_rois
from tests.app.label_images import ragged

SAMPLE = Path("samples/images/dsb2018-a5e695fce80d.png")
SIZE = (0.5, 0.25)
# As docs/fiji.md says, for every label image in a folder. No ROI is selected, so all are measured.
MACRO = """
folder = getArgument();
names = getFileList(folder);
run("Set Measurements...", "area mean min stack display redirect=None decimal=9");
told = "";
for (i = 0; i < names.length; i++) if (endsWith(names[i], "_label.tiff")) {
    stem = folder + replace(names[i], "_label.tiff", "");
    open(folder + names[i]);
    size = " channels=1 slices=3 frames=2 display=Color";
    if (startsWith(names[i], "TZ")) run("Stack to Hyperstack...", "order=xyczt(default)" + size);
    if (startsWith(names[i], "ZT")) run("Stack to Hyperstack...", "order=xyctz" + size);
    getPixelSize(unit, width, height);
    getDimensions(columns, rows, channels, slices, frames);
    getMinAndMax(black, white);
    told = told + names[i] + "," + unit + "," + height + "," + width;
    told = told + "," + frames + "," + slices + "," + rows + "," + columns;
    if (nSlices > 1) Stack.getStatistics(pixels, mean, least, most);
    else getStatistics(area, mean, least, most);
    told = told + "," + white + "," + most;
    count = 0;
    if (File.exists(stem + "_rois.zip")) {
        roiManager("Open", stem + "_rois.zip");
        count = roiManager("count");
        roiManager("Deselect");
        roiManager("Measure");
        saveAs("Results", stem + "_imagej.csv");
        run("Clear Results");
        roiManager("Reset");
    }
    told = told + "," + count + "\\n";
    close();
}
File.saveString(told, folder + "told.csv");
run("Quit");
"""
TOLD = ("unit", "y", "x", "frames", "slices", "rows", "columns", "white", "most", "rois")


def made(labels: np.ndarray) -> Labels:
    numbers = np.arange(int(labels.max()) + 1, dtype=np.uint32)
    return Labels(
        labels.astype(np.uint32), numbers if len(numbers) > 2**16 else numbers.astype(np.uint16)
    )


def write_all(folder: Path, stem: str, planes: list[np.ndarray], grid: Grid = ONE_PLANE) -> None:
    with (
        LabelWriter(folder / f"{stem}_label.tiff", grid, SIZE) as images,
        write_rois(folder / f"{stem}_rois.zip", grid) as rois,
    ):
        for number, plane in enumerate(planes):
            images.add(made(plane))
            for cell, outline in outlines(plane, find_boxes(plane, int(plane.max()))):
                rois.add(cell, outline, number)
        images.finish()


def far() -> np.ndarray:
    """Cells on both sides of where ImageJ's 16-bit numbers end."""
    labels = np.zeros((48, 66_000), np.uint16)
    for number, left in enumerate((60_480, 60_530, 60_600, 65_510, 65_600)):
        part = ragged(number, (40, 40), 4)
        labels[4:44, left : left + 40] = np.where(part, part + 4 * number, 0)
    return labels


PLANES = [ragged(seed, (60, 80), 9 + seed) for seed in range(6)]
GRIDS = {
    "Z": Grid("Z", (4,), tuple(np.ndindex(4))),
    "T": Grid("T", (4,), tuple(np.ndindex(4))),
    "TZ": Grid("TZ", (2, 3), tuple(np.ndindex(2, 3))),
    "ZT": Grid("ZT", (3, 2), tuple(np.ndindex(3, 2))),
}
CASES = {"ragged": [ragged(0, (300, 400), 150)], "far": [far()]}
CASES |= {axes: PLANES[: len(grid.positions)] for axes, grid in GRIDS.items()}


@pytest.fixture(scope="module")
def told(tmp_path_factory) -> tuple[Path, dict[str, dict[str, str]]]:
    """The folder, and what ImageJ told of each label image in it."""
    programs = [shutil.which(name) for name in ("timeout", "xvfb-run", "imagej")]
    if None in programs:
        pytest.skip("imagej or xvfb-run is not installed (Debian: imagej, xvfb)")
    timeout, xvfb, imagej = map(str, programs)
    folder = tmp_path_factory.mktemp("imagej")
    command = [sys.executable, "-m", "app", str(SAMPLE), str(folder)]
    options = ["--results", "table,rois", "--pixel-size", "0.5"]
    subprocess.run([*command, *options], check=True)
    for stem, planes in CASES.items():
        write_all(folder, stem, planes, GRIDS.get(stem, ONE_PLANE))
    many = np.arange(1, 70_001).reshape(250, 280)
    write_label(folder / "many_label.tiff", made(many), SIZE)
    write_label(folder / "unknown_label.tiff", made(PLANES[0]))
    (folder / "macro.ijm").write_text(MACRO)
    home = folder / "home"
    home.mkdir()
    # An error is a dialog, which nobody would close.
    ended = subprocess.run(
        [timeout, "100", xvfb, "-a", imagej, "-m", str(folder / "macro.ijm"), f"{folder}/"],
        env=os.environ | {"HOME": str(home), "JAVA_TOOL_OPTIONS": f"-Duser.home={home}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "told.csv").exists(), ended.stdout + ended.stderr
    with (folder / "told.csv").open(encoding="utf-8", newline="") as file:
        return folder, {name: dict(zip(TOLD, row, strict=True)) for name, *row in csv.reader(file)}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("stem", [*CASES, "many"])
def test_the_label_image_opens_with_its_scale(stem, told):
    image = told[1][f"{stem}_label.tiff"]
    assert image["unit"] == "µm"
    assert (float(image["y"]), float(image["x"])) == pytest.approx(SIZE, rel=1e-6)
    planes = CASES.get(stem) or [np.empty((250, 280))]
    assert (int(image["rows"]), int(image["columns"])) == planes[0].shape
    most = max(plane.max() for plane in planes) if stem in CASES else 70_000
    assert float(image["most"]) == most
    both = {"TZ": (2, 3), "ZT": (2, 3), "Z": (1, 4), "T": (1, 4)}  # it takes time alone for depth
    assert (int(image["frames"]), int(image["slices"])) == both.get(stem, (1, 1))


@pytest.mark.parametrize("stem", ["ragged", "many", "unknown"])
def test_labels_are_shown_from_black_to_white(stem, told):
    image = told[1][f"{stem}_label.tiff"]
    assert float(image["white"]) == float(image["most"]) > 1


def test_an_image_of_unknown_scale_has_none(told):
    image = told[1]["unknown_label.tiff"]
    assert image["unit"].strip() in ("", "pixel", "pixels") and image["x"] == image["y"] == "1"


def test_a_sample_measures_as_its_table(told):
    folder, images = told
    measured, table = (read(folder / f"{SAMPLE.stem}_{end}.csv") for end in ("imagej", "cells"))
    assert len(table) > 20 and len(measured) == len(table)
    assert images[f"{SAMPLE.stem}_label.tiff"]["rois"] == str(len(table))
    for row, cell in zip(measured, table, strict=True):
        assert row["Label"] == f"{SAMPLE.stem}_label.tiff:{cell['label']}"
        assert float(row["Area"]) == pytest.approx(float(cell["area_um2"]), rel=1e-8)
        assert row["Min"] == row["Max"] == cell["label"]


@pytest.mark.parametrize("stem", CASES)
def test_each_roi_is_its_cell_on_its_plane(stem, told):
    """Also cells of several parts, with holes, and far from the corner."""
    folder, images = told
    planes = CASES[stem]
    measured = read(folder / f"{stem}_imagej.csv")
    cells = [(k, label) for k, p in enumerate(planes) for label in range(1, int(p.max()) + 1)]
    assert len(measured) == len(cells) == int(images[f"{stem}_label.tiff"]["rois"])
    for row, (plane, label) in zip(measured, cells, strict=True):
        area = np.count_nonzero(planes[plane] == label) * SIZE[0] * SIZE[1]
        assert float(row["Area"]) == pytest.approx(area, rel=1e-6), row
        name = f"{plane}-{label}" if stem in GRIDS else f"{label}"
        assert row["Label"].split(":")[1] == name
        assert float(row["Min"]) == float(row["Max"]) == label, row
