"""napari, in a window: what docs/napari.md says, with the package as it is installed.

Skipped where one of two programs is missing: Debian's xvfb-run, and a napari, which wants an
environment of its own, for it brings a plugin of pytest that warns:

    python -m venv FOLDER && FOLDER/bin/pip install "napari[pyqt6]"
    PATH=$PATH:FOLDER/bin make test-system

Qt wants Debian's libegl1, libxkbcommon-x11-0, libxcb-cursor0, -icccm4, -image0, -keysyms1 and
-render-util0. Its own offscreen platform has no OpenGL, without which napari shows nothing.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

SAMPLE = Path("samples/images/dsb2018-a5e695fce80d.png")
# Runs the code of the page, and tells what came of it.
SESSION = """
import json, sys
import numpy as np
from napari.plugins import _npe2

names = {}
*blocks, out = sys.argv[1:]
told = {}

def tell(name, layer):
    told[name] = {
        "kind": type(layer).__name__,
        "scale": layer.scale.tolist(),
        "units": [str(unit) for unit in layer.units],
        "axes": list(layer.axis_labels),
        "dtype": str(layer.data.dtype),
        "sum": int(layer.data.astype(int).sum()),
        "features": {k: v.tolist() for k, v in getattr(layer, "features", {}).items()},
    }

def run(number):
    exec(blocks[number], names)

run(0)
viewer, cells = names["viewer"], names["cells"]
tell("cells", cells)
told["readers"] = sorted(_npe2.get_readers("OUTPUT/NAME_label.tiff"))
told["others"] = sorted(_npe2.get_readers("OUTPUT/NAME.tiff"))
y, x = (cells.features.loc[17, f"centroid-{k}"] for k in (0, 1))
told["status"] = cells.get_status((y / 2, x / 2), world=True)["value"]

dock, table = viewer.window.add_plugin_dock_widget("napari", "Features table widget")
viewer.layers.selection = {cells}
model = table.table.model()
for row in range(model.rowCount()):
    if model.index(row, 1).data() in ("17", 17):
        table.table.selectRow(row)
told["selected"] = int(cells.selected_label)
viewer.window.remove_dock_widget(dock)

def colours():
    return len(np.unique(viewer.screenshot(flash=False)[::2, ::2, :3].reshape(-1, 3), axis=0))

told["colours"] = [colours()]
run(1)
told["colours"].append(colours())
run(2)
tell("image", names["image"])
told["together"] = viewer.layers.extent.world.tolist()
(grey,) = viewer.open("OUTPUT/NAME_label.tiff", plugin="napari")
tell("without", grey)
viewer.layers.clear()
(stack,) = viewer.open("OUTPUT/STACK_label.tiff", plugin="vsm")
tell("stack", stack)
told["sliders"] = list(viewer.dims.axis_labels)
run(3)
tell("plane", viewer.layers[-1])
run(4)
tell("by hand", viewer.layers[-1])
viewer.close()
open(out, "w").write(json.dumps(told))
"""


def install(folder: Path) -> None:
    """The package with its entry points, as pip leaves them, around the code of the checkout."""
    entries = tomllib.loads(Path("pyproject.toml").read_text())["project"]["entry-points"]
    about = folder / "vsm-0.dist-info"
    about.mkdir(parents=True)
    (folder / "vsm").symlink_to(Path("app").absolute())
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: vsm\nVersion: 0\n")
    lines = [f"[{group}]\n{k} = {v}\n" for group, each in entries.items() for k, v in each.items()]
    (about / "entry_points.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def programs() -> list[str]:
    """A command: napari's Python on a display of its own, for five minutes at most."""
    found = [shutil.which(name) for name in ("timeout", "xvfb-run", "napari")]
    if None in found:
        pytest.skip("xvfb-run (Debian: xvfb) or napari is not on the path")
    *others, napari = map(str, found)
    return [others[0], "300", others[1], "-a", str(Path(napari).with_name("python"))]


@pytest.fixture(scope="module")
def outputs(programs, tmp_path_factory) -> Path:
    """What a run on a sample and a stack of it leaves, and both images."""
    folder = tmp_path_factory.mktemp("napari")
    images = folder / "FOLDER"
    images.mkdir()
    shutil.copy(SAMPLE, images / "NAME.png")
    image = np.asarray(cv2.imread(str(SAMPLE), cv2.IMREAD_GRAYSCALE))
    planes = np.stack([image, image[::-1], image[:, ::-1], image[::-1, ::-1]])
    planes = planes[:, :256, :256].reshape(2, 2, 256, 256)
    tifffile.imwrite(images / "STACK.ome.tif", planes, metadata={"axes": "TZYX"})
    command = [sys.executable, "-m", "app", str(images), str(folder / "OUTPUT")]
    options = ["--results", "table", "--pixel-size", "0.5", "--stack", "each"]
    subprocess.run([*command, *options], check=True)
    return folder


@pytest.fixture(scope="module")
def told(programs, outputs) -> dict:
    """What napari made of it."""
    page = Path("docs/napari.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    assert len(blocks) == 5
    site, out = outputs / "site", outputs / "told.json"
    install(site)
    environment = os.environ | {"PYTHONPATH": str(site), "HOME": str(outputs)}
    environment |= {"QT_QPA_PLATFORM": "xcb", "XDG_CONFIG_HOME": str(outputs / "settings")}
    ended = subprocess.run(
        [*programs, "-c", SESSION, *blocks, str(out)],
        cwd=outputs,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(out.read_text())


@pytest.fixture
def labels(outputs) -> np.ndarray:
    return tifffile.imread(outputs / "OUTPUT/NAME_label.tiff")


def test_the_reader_is_found_by_its_entry_point_for_label_images_alone(told):
    assert told["readers"] == ["napari", "vsm"] and told["others"] == ["napari"]


def test_it_opens_as_labels_with_its_scale(told, labels):
    cells = told["cells"]
    assert (cells["kind"], cells["dtype"]) == ("Labels", "uint16")
    assert cells["scale"] == [0.5, 0.5] and cells["units"] == ["micrometer"] * 2
    assert cells["sum"] == labels.sum(dtype=int)


def test_without_the_reader_it_is_a_grey_image(told):
    without = told["without"]
    assert (without["kind"], without["scale"]) == ("Image", [1, 1])


def test_each_label_has_its_features(told, labels):
    features = told["cells"]["features"]
    areas = np.bincount(labels.ravel())
    assert features["index"] == list(range(len(areas))) and len(areas) > 20
    assert features["area"][1:] == areas[1:].tolist()
    assert told["status"].startswith(f"17; area: {areas[17]}, ")
    assert "score: 0." in told["status"]


def test_a_line_of_naparis_table_is_its_label(told):
    assert told["selected"] == 17


def test_each_cell_is_drawn_in_its_colour(told):
    by_label, by_score = told["colours"]
    assert by_label > 20 and by_score > 20


def test_the_image_fits_its_labels(told, labels):
    assert told["image"]["scale"] == [0.5, 0.5]
    assert told["together"] == [[0, 0], [(side - 1) / 2 for side in labels.shape]]


def test_a_stack_has_sliders_and_no_features(told, outputs):
    stack = told["stack"]
    assert stack["kind"] == "Labels" and stack["features"] == {}
    assert stack["scale"] == [1, 1, 0.5, 0.5]
    assert stack["axes"] == told["sliders"] == ["t", "z", "y", "x"]
    labels = tifffile.imread(outputs / "OUTPUT/STACK_label.tiff")
    assert stack["sum"] == labels.sum(dtype=int)


def test_what_the_page_opens_without_the_reader(told, outputs, labels):
    plane = tifffile.imread(outputs / "OUTPUT/STACK_label.tiff")[1, 0]
    for name, image in {"plane": plane, "by hand": labels}.items():
        features, areas = told[name]["features"], np.bincount(image.ravel())
        assert told[name]["kind"] == "Labels" and len(areas) > 5
        assert features["area"][1:] == areas[1:].tolist()
    assert told["by hand"]["scale"] == [0.5, 0.5]
