"""The pictures of a report: outlines, their budget, plots, and pages that zoom."""

import json
import re

import cv2
import numpy as np
import pytest

from app.results.cells import find_boxes
from app.results.colours import find_lines
from app.results.report import gather as gathering
from app.results.report.pictures import Budget, budget, make_picture
from app.results.report.plots import histogram
from app.results.report.zoom import write_zoom
from tests.app.report_pages import Made, Page, decoded, disc_labels, pictures

AMPLE = Budget(320, 100_000, 100_000)


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def rasterised(path, shape):
    """The cells of a path, as labels in its order."""
    labels = np.zeros(shape, int)
    cells = re.findall(r"M[^M]*", path)
    for number, cell in enumerate(cells, 1):
        inside = np.zeros(shape, bool)
        start = np.zeros(2, int)
        for ring in re.findall(r"[Mm]([^Mm]*)z", cell):
            steps = np.array(re.findall(r"-?\d+", ring), int).reshape(-1, 2)
            start = start + steps[0]
            corners = start + np.cumsum(np.concatenate(([[0, 0]], steps[1:])), 0)
            filled = np.zeros(shape, np.uint8)
            # Of a polygon on the edges of pixels OpenCV fills the last row and column, too.
            centres = 8 * corners - 4
            cv2.fillPoly(filled, [centres.astype(np.int32)], 1, shift=3)
            inside ^= filled > 0
        labels[inside] = number
    return labels


def overlap(one, two):
    return (one & two).sum() / (one | two).sum()


def test_outlines_are_those_of_the_cells():
    labels = disc_labels((200, 300), ((60, 60), (60, 180), (140, 100)), 30)
    labels[50:70, 50:70] = 0  # a hole
    labels[5:15, 250:290] = 2  # another part
    picture = make_picture(np.zeros((200, 300, 3), np.uint8), labels, find_boxes(labels, 3), AMPLE)
    assert picture.size == (200, 300) and picture.labels == (1, 2, 3)
    found = rasterised(picture.path, labels.shape)
    for number in (1, 2, 3):
        assert overlap(found == number, labels == number) > 0.93
    assert not found[55:65, 55:65].any() and (found[7:13, 255:285] == 2).all()


def grid_labels(side=1000, step=20):
    labels = np.zeros((side, side), np.uint16)
    n = 0
    for y in range(0, side - step + 1, step):
        for x in range(0, side - step + 1, step):
            n += 1
            cv2.ellipse(labels, (x + 10, y + 10), (8, 5), n % 180, 0, 360, n, -1)
    return labels, n


@pytest.mark.parametrize("most", [1500, 20_000, 60_000])
def test_outlines_stay_within_their_budget(most):
    labels, count = grid_labels()
    limits = Budget(320, 20_000, most)
    picture = make_picture(
        np.zeros((1000, 1000, 3), np.uint8), labels, find_boxes(labels, count), limits
    )
    shown = picture.labels
    extra = sum(len(f"{label} 99 ") for label in shown)
    assert 0.4 * most < len(picture.path) + extra <= most
    assert shown == tuple(range(count - len(shown) + 1, count + 1))
    assert picture.path.count("M") == len(shown)


def test_cells_too_small_to_be_outlined_are_not():
    labels = np.zeros((5120, 5120), np.uint16)
    labels[100:1000, 100:1000] = 1
    labels[2000:2008, 2000:2008] = 2  # two pixels of the picture
    picture = make_picture(
        np.zeros((5120, 5120, 3), np.uint8), labels, find_boxes(labels, 2), AMPLE
    )
    assert picture.size == (1280, 1280) and picture.labels == (1,)


def test_noise_is_compressed_until_it_fits():
    image = np.random.default_rng(0).integers(0, 256, (500, 500, 3), np.uint8)
    labels = np.zeros((500, 500), np.uint16)
    sizes = [
        len(make_picture(image, labels, np.zeros((0, 4), int), Budget(320, most, 1000)).webp)
        for most in (200_000, 30_000, 15_000)
    ]
    assert sizes[0] > 30_000 >= sizes[1] > 15_000 >= sizes[2]


def test_five_hundred_images_can_be_mailed():
    limits = budget(500)
    assert limits.side == 320
    assert 500 * (limits.picture * 4 / 3 + limits.outlines) < 16e6
    assert budget(5000).side < 120 and budget(6).side == 960


# Plots.


def bars(figure):
    return [int(n.replace(",", "")) for n in re.findall(r": ([\d,]+)</title>", figure)]


@pytest.mark.parametrize("scale", ["", "log", "whole"])
@pytest.mark.parametrize("seed", range(4))
def test_every_value_is_in_a_bar(seed, scale):
    rng = np.random.default_rng(seed)
    values = rng.lognormal(seed, 1.5, 400)
    values = np.rint(values * 10) if scale == "whole" else values
    assert sum(bars(histogram(values.astype(np.float32), "t", "", scale))) == 400


@pytest.mark.parametrize("scale", ["", "log", "whole"])
@pytest.mark.parametrize("value", [1, 7, 1e-3, 12345])
def test_values_that_are_all_alike(value, scale):
    assert bars(histogram(np.full(9, value, np.float32), "t", "", scale)) == [9]


def test_what_a_plot_says():
    figure = histogram(np.array([1, 2, 3, 4, 5, np.nan, np.inf]), "Cells <in>", "µm²", "whole")
    assert "Cells &lt;in&gt;" in figure and "median 3 µm², half of all 2 to 4" in figure
    assert bars(figure) == [1] * 5
    assert histogram(np.zeros(0), "t") == histogram(np.array([np.nan]), "t") == ""
    assert histogram(np.array([0.0, -1.0]), "t", "", "log") == ""


# Slides.


def zoomed(tmp_path, labels, image):
    boxes = find_boxes(labels, int(labels.max()))
    write_zoom(tmp_path / "a", image, labels, boxes, (0.5, 0.5))
    return tmp_path / "a_zoom"


def test_tiles_put_together_are_the_image(tmp_path):
    labels, _ = grid_labels(1200)
    labels = labels[:1100]
    _, labels = np.unique(labels, return_inverse=True)
    labels = labels.reshape(1100, 1200).astype(np.uint16)
    y, x = np.mgrid[:1100, :1200]
    image = np.stack((x // 5, y // 5, (x + y) // 10), 2).astype(np.uint8)
    tiles = zoomed(tmp_path, labels, image)
    for level, (height, width) in enumerate(((275, 300), (550, 600), (1100, 1200))):
        whole = np.zeros((height, width, 3), int)
        lines = np.zeros((height, width, 4), int)
        for file in (tiles / "image" / str(level)).iterdir():
            column, row = map(int, file.stem.split("_"))
            part = cv2.imread(str(file))[:, :, ::-1]
            place = np.s_[
                row * 512 : row * 512 + len(part), column * 512 : column * 512 + len(part[0])
            ]
            whole[place] = part
            png = tiles / "lines" / str(level) / f"{file.stem}.png"
            lines[place] = cv2.imread(str(png), cv2.IMREAD_UNCHANGED)
        wanted = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
        assert abs(whole - wanted).mean() < 2
        if level == 2:
            assert ((lines[:, :, 3] == 255) == find_lines(labels)).all()
            assert set(np.unique(lines[:, :, 3])) == {0, 255}
    # Lines stay visible from afar.
    assert lines.shape == (1100, 1200, 4)
    top = cv2.imread(str(tiles / "lines" / "0" / "0_0.png"), cv2.IMREAD_UNCHANGED)
    assert top[:, :, 3].mean() > 60


def test_zoomable_page(tmp_path):
    labels = disc_labels((700, 600), ((100, 100),), 50)
    zoomed(tmp_path, labels, np.zeros((700, 600, 3), np.uint8))
    page = Page(tmp_path / "a_zoom.html")
    (body,) = page.all("body")
    about = json.loads(body["data-about"])
    assert about == {
        "height": 700, "width": 600, "tile": 512, "top": 1, "tiles": "a_zoom", "micrometres": 0.5,
    }  # fmt: skip
    (policy,) = [each["content"] for each in page.all("meta") if "http-equiv" in each]
    assert "default-src 'none'" in policy and "img-src 'self' file: data:" in policy
    assert not [each for tag, each in page.elements if each.get("src") or each.get("href")]


def test_only_images_too_large_for_their_overlay_have_one(made, monkeypatch):
    made.done("a.png")
    made.report()
    assert not (made.outputs / "a_zoom.html").exists()
    monkeypatch.setattr(gathering, "MAX_SIDE", 70)
    links = [each["href"] for each in made.report().all("a")]
    assert "a_zoom.html" in links and (made.outputs / "a_zoom" / "image" / "0" / "0_0.jpg").exists()
    assert not list(made.outputs.glob(".*"))


def test_a_zoomable_page_that_cannot_be_written_costs_only_itself(made, monkeypatch):
    made.done("a.png")
    monkeypatch.setattr(gathering, "MAX_SIDE", 70)
    (made.outputs / "a_zoom.html").mkdir()
    page = made.report()
    assert "its zoomable page can't be written" in page.text
    assert decoded(pictures(page)[0])[15, 15].min() > 150  # of the image


def test_no_folder_of_others_is_replaced_by_tiles(made, monkeypatch):
    made.done("a.png")
    monkeypatch.setattr(gathering, "MAX_SIDE", 70)
    (made.outputs / "a_zoom").mkdir()
    (made.outputs / "a_zoom" / "b_label.tiff").write_text("another image's")
    page = made.report()
    assert "its zoomable page can't be written" in page.text and "holds b_label.tiff" in page.text
    assert (made.outputs / "a_zoom" / "b_label.tiff").read_text() == "another image's"
