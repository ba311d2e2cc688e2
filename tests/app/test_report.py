"""The report: what it tells, of which files, and that nothing in a file can harm it."""

import base64
import hashlib
import html.parser
import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from app.results.cells import find_boxes
from app.results.colours import find_lines
from app.results.report import gather as gathering
from app.results.report import write_report
from app.results.report.gather import Entry
from app.results.report.pictures import Budget, budget, make_picture
from app.results.report.plots import histogram
from app.results.report.suspicion import TO_LOOK_AT, judge
from app.results.report.zoom import write_zoom

AMPLE = Budget(320, 100_000, 100_000)


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: elements with their attributes, and text."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if not {"script", "style"} & set(self._open):
            self.texts.append(data)

    def all(self, tag, **wanted):
        return [
            attributes
            for name, attributes in self.elements
            if name == tag and wanted.items() <= attributes.items()
        ]

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


def disc_labels(shape=(60, 80), places=((15, 15), (15, 45), (40, 30)), radius=8):
    labels = np.zeros(shape, np.uint16)
    for number, (y, x) in enumerate(places, 1):
        cv2.circle(labels, (x, y), radius, number, -1)
    return labels


def picture_of(labels):
    return np.where(labels > 0, 200, 30).astype(np.uint8)


class Made:
    """Folders as a run leaves them: images and outputs."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.outputs = folder / "in", folder / "out"
        self.inputs.mkdir()
        self.outputs.mkdir()
        self.run: dict[str, Any] = {
            "version": "1.2.3",
            "commit": "0" * 40,
            "stack": "refuse",
            "images": [],
        }
        self.run["runs"] = {"r": {"started": "2026-11-02T03:04:05Z", "host": "lab"}}
        self.run["method"] = {"score_threshold": 0.4}
        self.run["graphs"] = [{"file": "detector.onnx", "sha256": "ab12"}]

    def done(self, name, labels=None, scores=None, **more):
        labels = disc_labels() if labels is None else labels
        stem = name.rpartition(".")[0]
        cv2.imwrite(str(self.inputs / "tmp.png"), picture_of(labels))
        (self.inputs / "tmp.png").rename(self.inputs / name)
        tifffile.imwrite(self.outputs / f"{stem}_label.tiff", labels, compression="zlib")
        count = int(labels.max())
        if scores is not None:
            lines = ["label,score", *(f"{n + 1},{score}" for n, score in enumerate(scores))]
            (self.outputs / f"{stem}_cells.csv").write_text("\n".join(lines) + "\n")
        record = {
            "image": name,
            "status": "done",
            "height": labels.shape[0],
            "width": labels.shape[1],
            "instances": count,
            "label": f"{stem}_label.tiff",
            "warnings": [],
            "seconds": {"read": 0.5, "detect": 1.0},
            "look": {"channels": [0], "limits": [[0, 255]], "usual": True},
            "results": dict.fromkeys(("table", "overlay", "geojson", "rois"), "there"),
        }
        self.run["images"].append(record | more)

    def failed(self, name, error):
        self.run["images"].append({"image": name, "status": "failed", "error": error})

    def report(self, gone=False) -> Page:
        return Page(write_report(self.outputs, self.run, None if gone else self.inputs))


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def cards(page):
    """The numbers of the images that have a card, in order."""
    return [each["data-image"] for each in page.all("li") if "data-image" in each]


def names(page):
    """Of all images, in the order of the table."""
    return [each["data-value"] for each in page.all("th", scope="row") if "data-value" in each]


def columns(page):
    """The sorting values of the table's rows, each by the name of its image."""
    rows, current = {}, None
    for tag, attributes in page.elements:
        if tag == "th" and attributes.get("scope") == "row" and "data-value" in attributes:
            current = rows.setdefault(attributes["data-value"], [])
        elif tag == "td" and "data-value" in attributes:
            current.append(attributes["data-value"])
    return rows


def test_tells_what_was_done_failed_and_warned(made):
    made.done("a.png", scores=[0.9, 0.8, 0.4])
    made.done("b.png", warnings=["a cell is larger than a window"])
    made.failed("c.png", "/data/c.png: the file is empty; copy it again")
    page = made.report()
    counts = [page.text.index(t) for t in ("2 of 3", "6 cells", "1 with warnings", "1 failed")]
    assert counts == sorted(counts)
    assert "/data/c.png: the file is empty; copy it again" in page.text
    assert "a cell is larger than a window" in page.text
    assert len(cards(page)) == 2
    area = float(np.bincount(disc_labels().ravel())[1])
    assert columns(page)["a.png"][:6] == ["3", f"{area:g}", "0.8", "0", "4800", "1.5"]
    assert columns(page)["c.png"][:6] == [""] * 6
    assert [each["data-kinds"] for each in page.all("tr") if "data-kinds" in each] == [
        "failed",
        "warned suspicious",
        "",
    ]


def test_settings_versions_and_citation(made):
    made.done("a.png")
    page = made.report()
    for told in ("1.2.3", "0" * 40, "2026-11-02 03:04:05 UTC", "detector.onnx", "ab12", "lab"):
        assert told in page.text
    assert "score_threshold 0.4" in page.text
    assert "cff-version: 1.2.0" in page.text and "Nature Methods" in page.text


def test_areas_in_micrometres_where_all_pixel_sizes_are_known(made):
    made.done("a.png", pixel_size=[0.5, 2.0])
    area = int(np.bincount(disc_labels().ravel())[1])
    assert columns(made.report())["a.png"][1] == f"{area}"
    assert "µm²" in made.report().text
    made.done("b.png")
    text = made.report().text
    assert "µm²" not in text and "px²" in text


HOSTILE = [
    "<script>alert(1)<",  # a slash can't be in a name
    '"><img src=x onerror=alert(1)>',
    "' onclick='alert(1)",
    "javascript:alert(1)",
    "a&amp;b${title}$policy",
    "#?%2e%2e",
    "evil\u202egnp.exe",
    "line\nbreak\ttab",
    "bad\udcff\udc80bytes",
    "]]>-->",
]


def test_hostile_names(made):
    for number, name in enumerate(HOSTILE):
        made.done(f"{name}{number}.png", warnings=[name], note=name)
        made.failed(f"failed {name}{number}.png", f"{name} is bad")
    page = made.report()
    assert len(page.all("script")) == len(page.all("style")) == 1
    assert not page.all("img") and len(cards(page)) == len(HOSTILE)
    assert not [each for _, each in page.elements if any(key.startswith("on") for key in each)]
    links = [each["href"] for each in page.all("a") if not each["href"].startswith("#")]
    found = set()
    for link in links:
        parts = urllib.parse.urlsplit(link)
        assert not parts.scheme and not parts.netloc and not parts.query and not parts.fragment
        path = urllib.parse.unquote(parts.path, errors="surrogateescape")
        assert (made.outputs / path).is_file()
        found.add(path)
    assert found == {record["label"] for record in made.run["images"] if "label" in record}
    assert "$policy" in page.text and "\u202e" not in page.text and "\\u202e" in page.text
    assert "no picture" not in page.text  # every one was found and read


def test_nothing_is_loaded_and_only_its_own_script_runs(made):
    made.done("a.png", scores=[0.9, 0.8, 0.4])
    page = made.report()
    (policy,) = [each for each in page.all("meta") if "http-equiv" in each]
    allowed = dict(rule.split(" ", 1) for rule in policy["content"].split("; "))
    assert allowed["default-src"] == "'none'" and allowed["img-src"] == "data:"
    source = (made.outputs / "report.html").read_text()
    for tag in ("script", "style"):
        (inside,) = re.findall(f"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert allowed[f"{tag}-src"] == f"'sha256-{digest}'"
    loads = [each.get("src") or each.get("href") for tag, each in page.elements if tag != "a"]
    assert all(url.startswith(("data:", "#")) for url in loads if url)
    assert not [each for _, each in page.elements if "style" in each]  # the policy forbids them


def test_same_files_same_report(made):
    made.done("a.png", scores=[0.9, 0.8, 0.4])
    made.done("b.png")
    made.report()
    first = (made.outputs / "report.html").read_bytes()
    made.report()
    assert (made.outputs / "report.html").read_bytes() == first


def test_no_image_at_all(made):
    assert "0 of 0" in made.report().text
    made.failed("a.png", "broken")
    assert "0 of 1" in made.report().text


# What is missing is said, and costs no more than itself.


def pictures(page):
    return [each["href"] for each in page.all("image")]


def decoded(href):
    data = np.frombuffer(base64.b64decode(href.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


def test_image_is_shown_as_the_networks_were_shown_it(made):
    labels = disc_labels()
    made.done("a.png", look={"channels": [0], "limits": [[30, 115]], "usual": True})
    (href,) = pictures(made.report())
    found = decoded(href)
    assert found.shape == (60, 80, 3)
    inner = cv2.erode((labels > 0).astype(np.uint8), np.ones((5, 5))) > 0
    assert found[inner].min() > 235 and abs(found[~(labels > 0)]).mean() < 12


def test_images_are_gone(made):
    made.done("a.png")
    (made.inputs / "a.png").unlink()
    for page in (made.report(), made.report(gone=True)):
        assert "the image is gone: only its cells are shown" in page.text
        assert "Of 1 image something is missing" in page.text
        found = decoded(pictures(page)[0])
        assert found[15, 15].min() > 100 > found[50, 70].max()
        assert page.all("path", id="o0")[0]["data-labels"] == "1 2 3"


def test_image_was_replaced_by_one_of_another_size(made):
    made.done("a.png")
    cv2.imwrite(str(made.inputs / "a.png"), np.zeros((20, 20), np.uint8))
    assert "it has another size now" in made.report().text


def test_image_was_broken_since(made):
    made.done("a.png")
    (made.inputs / "a.png").write_bytes(b"no image")
    page = made.report()
    assert "only its cells are shown, for the image can't be read" in page.text
    assert len(pictures(page)) == 1


def test_label_image_is_gone(made):
    made.done("a.png")
    (made.outputs / "a_label.tiff").unlink()
    page = made.report()
    assert "its label image is gone" in page.text and "no picture" in page.text
    assert not [each for each in page.all("a") if "label" in each["href"]]


@pytest.mark.parametrize("instances, words", [(2, "more than the 2"), (4, "fewer than the 4")])
def test_label_image_of_another_run(made, instances, words):
    made.done("a.png", instances=instances)
    assert f"its label image has {words} cells of run.json" in made.report().text


@pytest.mark.parametrize(
    "table, words",
    [
        (b"label,score\n1,0.5\n", "its table has 1 cells, run.json 3"),
        (b"", "its table can't be read"),
        (b"label,score\n1,x\n", "its table can't be read"),
        (b"label,score\n1\n", "its table can't be read"),
        (b"label,area\n1,2\n", "its table can't be read"),
        (b"\xff\xfe\x00", "its table can't be read"),
    ],
)
def test_broken_table(made, table, words):
    made.done("a.png")
    (made.outputs / "a_cells.csv").write_bytes(table)
    page = made.report()
    assert words in page.text and len(pictures(page)) == 1


def test_files_beside_are_linked(made):
    (made.outputs / "sub").mkdir()
    (made.inputs / "sub").mkdir()
    made.done("sub/a b.png")
    for end in ("_overlay.jpg", ".geojson"):
        (made.outputs / "sub" / f"a b{end}").touch()
    links = [each["href"] for each in made.report().all("a") if "#" not in each["href"]]
    wanted = ["sub/a%20b_overlay.jpg", "sub/a%20b.geojson", "sub/a%20b_label.tiff"]
    assert links == wanted * 2  # below the picture, and in the table


def test_of_a_stack_the_plane_with_most_cells_is_shown(made):
    planes = [disc_labels(places=((15, 15),)), disc_labels(), disc_labels(places=((0, 40),))]
    looks = {"look": {"channels": [0], "limits": [[0, 255]]}}
    counts = [1, 3, 1]
    made.done("a.tif", scores=[0.5, 0.6, 0.7, 0.8, 0.9], instances=5)
    made.run["images"][0] |= {
        "axes": "Z",
        "lengths": [4],  # of which one place has no plane
        "planes": [
            {"plane": n, "position": [place], "instances": counts[n], **looks}
            for n, place in enumerate((0, 2, 3))
        ],
    }
    pages = np.stack([planes[0], np.zeros_like(planes[0]), *planes[1:]])
    tifffile.imwrite(
        made.outputs / "a_label.tiff", pages, ome=True, metadata={"axes": "ZYX"}, compression="zlib"
    )
    images = np.stack([picture_of(plane) for plane in planes])
    grey = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"}
    tifffile.imwrite(made.inputs / "a.tif", images, **grey)
    page = made.report()
    (path,) = page.all("path", id="o0")
    assert path["data-labels"] == "1 2 3" and path["data-scores"] == "60 70 80"
    assert decoded(pictures(page)[0])[40, 30].min() > 150
    assert "5 cells in 3 planes" in page.text
    assert columns(page)["a.tif"][2:4] == ["0.7", "0.2"]  # one of five touches the edge


# Which images are to be looked at.


def entry(name="a", count=100, area=400.0, score=0.85, **more):
    given = {
        "areas": np.full(count, area, np.float32),
        "scores": np.full(count, score, np.float32),
    }
    return Entry(name=name, is_done=True, count=count, **given, **more)


def reasons_beside_usual(odd, usual=19):
    """The texts, and their sum."""
    found = judge([*(entry(count=95 + n) for n in range(usual)), odd])
    assert not any(found[:-1])
    return [reason.text for reason in found[-1]], sum(reason.weight for reason in found[-1])


@pytest.mark.parametrize(
    "odd, words",
    [
        (entry(count=0), "no cell"),
        (entry(count=12), "few cells: 12, in most images about 103"),
        (entry(count=900), "many cells: 900, in most images about 104"),
        (entry(area=60), "small cells: 60 px², in most images about 400"),
        (entry(area=2500), "large cells: 2,500 px², in most images about 400"),
        (entry(score=0.6), "low scores: median 0.60, in most images about 0.85"),
        (entry(at_edge=80), "many cells at the edge: 80 (80%)"),
        (entry(warnings=("something is odd",)), "something is odd"),
    ],
)
def test_why_an_image_is_suspicious(odd, words):
    texts, weight = reasons_beside_usual(odd)
    assert texts == [words] and weight >= TO_LOOK_AT


def test_an_unusual_look_is_told_but_not_enough():
    texts, weight = reasons_beside_usual(entry(note="shown at 0.5 times the usual size"))
    assert texts == ["shown at 0.5 times the usual size"] and 0 < weight < TO_LOOK_AT


def test_small_differences_are_not_suspicious():
    assert reasons_beside_usual(entry(count=180, area=700.0, score=0.79)) == ([], 0)


def test_higher_scores_are_not_suspicious():
    assert reasons_beside_usual(entry(score=0.99)) == ([], 0)


def test_nothing_is_usual_in_few_images():
    found = judge([entry(count=3, area=5000.0), *(entry() for _ in range(3))])
    assert not any(found)
    assert [r.text for r in judge([entry(score=0.5)])[0]] == ["low scores: median 0.50"]


def test_unknown_scores_and_areas_are_not_suspicious():
    unknown = Entry(name="a", is_done=True, count=100)
    assert reasons_beside_usual(unknown) == ([], 0)


def test_most_suspicious_first_then_by_name(made):
    for number in (10, 9, 1):
        made.done(f"plate{number}.png")
    made.done("few.png", np.zeros((60, 80), np.uint16))
    made.done("warned.png", warnings=["odd"])
    made.failed("failed.png", "broken")
    wanted = ["failed.png", "few.png", "warned.png", "plate1.png", "plate9.png", "plate10.png"]
    assert names(made.report()) == wanted


# Pictures and outlines.


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
