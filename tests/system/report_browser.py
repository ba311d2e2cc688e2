"""A run for a report to tell of, and the browser that shows it."""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from app.files.open import decode, read_image
from app.results.cells import find_boxes
from app.results.overlay import write_overlay
from app.results.report import write_report

SAMPLES = sorted(Path("samples/images").glob("*.png"))
WIDE = (1400, 1000)
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOSTILE = "<img src=x onerror=document.title='broken'>.png"


def done(name: str, labels: np.ndarray, **more) -> dict:
    return {
        "image": name,
        "status": "done",
        "height": labels.shape[0],
        "width": labels.shape[1],
        "instances": int(labels.max()),
        "label": f"{name.rpartition('.')[0]}_label.tiff",
        "warnings": [],
        "seconds": {"detect": 1.5},
        "look": {"channels": [0], "limits": [[0, 255]], "usual": True},
        "results": dict.fromkeys(("table", "overlay", "geojson", "rois"), "there"),
    } | more


class Outputs:
    """Folders as a run on copies of the samples leaves them."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.outputs = folder / "in", folder / "out"
        self.records: list[dict] = []
        self.inputs.mkdir(parents=True)
        self.outputs.mkdir()

    def add_sample(self, number: int, name: str, scores: np.ndarray | None = None) -> None:
        source = SAMPLES[number % len(SAMPLES)]
        labels = tifffile.imread(f"samples/labels/{source.stem}_label.tiff")
        image = read_image(source)
        channels = list(range(image.shape[2])) if image.ndim == 3 else [0]
        look = {"channels": channels, "limits": [[0, 255]] * len(channels), "usual": True}
        record = done(name, labels, look=look)
        shutil.copy(source, self.inputs / name)
        tifffile.imwrite(self.outputs / record["label"], labels, compression="zlib")
        stem = name.rpartition(".")[0]
        if scores is not None:
            rows = [f"{n + 1},{scores[n % len(scores)]:.4f}" for n in range(labels.max())]
            table = "\n".join(["label,score", *rows, ""])
            (self.outputs / f"{stem}_cells.csv").write_text(table)
        self.records.append(record)

    def report(self) -> Path:
        run = {"version": "0", "runs": {}, "images": self.records}
        return write_report(self.outputs, run, self.inputs)


def add_slide(made: Outputs) -> None:
    """Of 4,300 x 5,000 pixels, stained."""
    rng = np.random.default_rng(1)
    labels = np.zeros((4300, 5000), np.int32)
    places = [(x, y) for y in range(40, 4260, 60) for x in range(40, 4960, 60)]
    for number, (x, y) in enumerate(places, 1):
        axes = tuple(rng.integers(9, 26, 2).tolist())
        cv2.ellipse(labels, (x, y), axes, int(rng.integers(180)), 0, 360, number, -1)
    image = np.where(labels[..., None] > 0, (95, 70, 150), (236, 222, 232)).astype(np.uint8)
    image += rng.integers(0, 15, image.shape, np.uint8)
    labels = labels.astype(np.uint16)
    tiles: dict[str, Any] = {"tile": (512, 512), "compression": "zlib"}
    tifffile.imwrite(made.inputs / "slide.tif", image, photometric="rgb", **tiles)
    tifffile.imwrite(made.outputs / "slide_label.tiff", labels, **tiles)
    look = {"channels": [0, 1, 2], "limits": [[0, 255]] * 3, "usual": True}
    made.records.append(done("slide.tif", labels, look=look, pixel_size=[0.5, 0.5]))
    boxes = find_boxes(labels, len(places))
    write_overlay(made.outputs / "slide_overlay.jpg", image, labels, boxes, (0.5, 0.5))


class Browser:
    """Chromium, and what it has loaded and complained of."""

    def __init__(self, driver) -> None:
        self.driver = driver
        self._loaded: list[str] = []

    def open(self, page: Path) -> None:
        self.resize(*WIDE)
        self.driver.get(page.as_uri())

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def all(self, selector: str):
        return self.driver.find_elements("css selector", selector)

    def click(self, selector: str) -> None:
        self.driver.find_element("css selector", selector).click()

    def type(self, keys: str) -> None:
        self.driver.switch_to.active_element.send_keys(keys)

    def run(self, script: str, *values):
        return self.driver.execute_script(f"return {script}", *values)

    def shown(self, selector: str) -> list[str]:
        return [each.text for each in self.all(selector) if each.is_displayed()]

    def until(self, holds: Callable[[], bool]) -> None:
        end = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < end
            time.sleep(0.1)

    @property
    def loaded(self) -> list[str]:
        """The addresses of all that the pages have asked for."""
        for line in self.driver.get_log("performance"):
            message = json.loads(line["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                about = message["params"]
                if about["documentURL"].startswith("file:"):  # not the browser's own first page
                    self._loaded.append(about["request"]["url"])
        return self._loaded

    def has_loaded(self, part: str) -> bool:
        return any(part in address for address in self.loaded)

    def picture(self, name: str) -> np.ndarray:
        data = self.driver.get_screenshot_as_png()
        if folder := os.environ.get("REPORT_PICTURES"):
            Path(folder, f"{name}.png").write_bytes(data)
        return decode(data)[:, :, :3].astype(int)

    def check(self) -> None:
        """It has complained of nothing, and loaded nothing but files."""
        assert self.driver.get_log("browser") == []
        assert self.loaded
        assert all(url.startswith(("file:", "data:", "blob:")) for url in self.loaded)
