"""Made-up runs, the pages that tell of them, and what such a page holds."""

import base64
import html.parser
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from app.results.report import write_report
from app.results.report.gather import Entry


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


def pictures(page):
    return [each["href"] for each in page.all("image")]


def decoded(href):
    data = np.frombuffer(base64.b64decode(href.partition(",")[2]), np.uint8)
    return cv2.imdecode(data, cv2.IMREAD_COLOR)[:, :, ::-1].astype(int)


def entry(name="a", count=100, area=400.0, score=0.85, **more):
    given = {
        "areas": np.full(count, area, np.float32),
        "scores": np.full(count, score, np.float32),
    }
    return Entry(name=name, is_done=True, count=count, **given, **more)
