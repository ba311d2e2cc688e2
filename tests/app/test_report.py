"""The report: what it tells, of which files, and that nothing in a file can harm it."""

import base64
import hashlib
import re
import urllib.parse

import cv2
import numpy as np
import pytest
import tifffile

from tests.app.report_pages import Made, cards, columns, decoded, disc_labels, picture_of, pictures


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


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


def test_an_image_is_opened_as_its_own_run_opened_it(made):
    made.done("a.tif", run="earlier")
    made.run["stack"] = "0"  # of the last run
    made.run["runs"]["earlier"] = {"stack": "1"}
    planes = np.stack([np.zeros((60, 80), np.uint8), picture_of(disc_labels())])
    grey = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"}
    tifffile.imwrite(made.inputs / "a.tif", planes, **grey)
    assert decoded(pictures(made.report())[0])[15, 15].min() > 150


# Which images are to be looked at.
