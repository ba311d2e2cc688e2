"""The report in a real browser: opened from a file, clicked and typed at.

Debian's packages chromium and chromium-driver, and selenium; skipped where one of them is missing.
With REPORT_PICTURES=FOLDER the tests leave pictures of what they saw there.
"""

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from app.files.open import decode, read_image
from app.results.cells import find_boxes
from app.results.overlay import write_overlay
from app.results.report import write_report

SAMPLES = sorted(Path("samples/images").glob("*.png"))
ROOM = 20_000_000, 30.0  # bytes and CPU seconds of a report of 500 images
WIDE, NARROW = (1400, 1000), (390, 844)
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


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The report of 24 images, of which one failed, one is empty, one is a slide."""
    made = Outputs(tmp_path_factory.mktemp("site"))
    rng = np.random.default_rng(0)
    for number in range(20):
        made.add_sample(number, f"well{number}.png", rng.uniform(0.4 + 0.02 * number, 0.95, 50))
    made.add_sample(1, HOSTILE)
    made.records[2]["warnings"] = ["a cell is larger than a window"]
    error = "lost.png: the file is empty; copy it again"
    made.records.append({"image": "lost.png", "status": "failed", "error": error})
    empty = np.zeros((200, 300), np.uint16)
    cv2.imwrite(str(made.inputs / "empty.png"), empty.astype(np.uint8))
    tifffile.imwrite(made.outputs / "empty_label.tiff", empty)
    made.records.append(done("empty.png", empty))
    add_slide(made)
    return made.report()


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


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if None in programs:
        pytest.skip("chromium or chromedriver is not installed (Debian: chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = programs[0]
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs[1]))
    yield driver
    driver.quit()


@pytest.fixture
def browser(driver, site):
    """With the report open; at the end it must have been content."""
    browser = Browser(driver)
    browser.open(site)
    yield browser
    browser.check()


NAMES = "#table tbody tr:not([hidden]) th bdi"
CARDS = "#sheet > li h3"
PICTURE = "#sheet > li:not([hidden]) .picture"


def test_first_look(browser):
    browser.picture("wide")
    assert browser.shown(".counts strong")[0] == "23 of 24"
    assert browser.run("document.title") == "out: report of cells"  # no name has changed it
    assert "the file is empty" in browser.shown(".failures")[0]
    assert browser.shown(CARDS)[0] == "empty.png"  # the most suspicious
    assert len(browser.shown(CARDS)) == 23 and HOSTILE in browser.shown(CARDS)
    assert len(browser.all("figure")) == 3
    # Pictures are drawn, with lines over them.
    assert browser.run("[...document.querySelectorAll('image')].every((i) => i.href.baseVal)")
    first = browser.all("#sheet .lines")[0]
    assert first.is_displayed()


def test_sort_by_clicks_on_the_table(browser):
    browser.click("[data-view=table]")
    assert browser.shown(CARDS) == []
    browser.click("[data-key=name] button")
    wells = [name for name in browser.shown(NAMES) if name.startswith("well")]
    assert wells == [f"well{n}.png" for n in range(20)]
    browser.click("[data-key=cells] button")
    counts = [int(t.replace(",", "")) for t in browser.shown("#table td:nth-child(2)") if t]
    assert counts == sorted(counts, reverse=True) and len(counts) == 23
    browser.click("[data-key=cells] button")
    again = browser.shown("#table td:nth-child(2)")
    assert [int(t.replace(",", "")) for t in again if t] == counts[::-1]
    assert again[-1] == ""  # of what failed nothing is known: last, whichever way
    assert browser.run("document.querySelector('[data-key=cells]').ariaSort") == "ascending"
    browser.picture("table")
    # The pictures are in the same order.
    names = browser.shown(NAMES)
    browser.click("[data-view=sheet]")
    assert browser.shown(CARDS) == [name for name in names if name != "lost.png"]


def test_sort_by_the_list(browser):
    browser.click("#sort option[value='score ascending']")
    scores = browser.run(
        "[...document.querySelectorAll('#table td:nth-child(4)')]"
        ".map((c) => c.dataset.value).filter(Boolean).map(Number)"
    )
    assert scores == sorted(scores) and len(scores) == 20


def test_filter(browser):
    box = browser.all("#find")[0]
    box.send_keys("well1")
    assert set(browser.shown(CARDS)) == {"well1.png", *(f"well{n}.png" for n in range(10, 20))}
    assert browser.shown("#shown") == ["11 of 24 images"]
    box.send_keys("2")
    assert browser.shown(CARDS) == ["well12.png"]
    box.send_keys("\b" * 6 + "no cell")  # by the reason, too
    assert browser.shown(CARDS) == ["empty.png"]
    box.send_keys("\b" * 7)
    browser.click("[data-show=warned]")
    assert browser.shown(CARDS) == ["well2.png"]
    browser.click("[data-show=failed]")
    assert browser.shown(NAMES) == ["lost.png"] and browser.shown(CARDS) == []
    browser.click("[data-show=failed]")
    assert len(browser.shown(NAMES)) == 24


def stroke(browser, selector: str) -> str:
    return browser.run("getComputedStyle(document.querySelector(arguments[0])).stroke", selector)


def test_enlarge_switch_outlines_and_colour_by_score(browser):
    browser.all("#find")[0].send_keys("well3.png")
    browser.click(PICTURE)
    assert browser.shown("#large-name") == ["well3.png"]
    paths = browser.all(".stage .cells path")
    labels = tifffile.imread(f"samples/labels/{SAMPLES[3].stem}_label.tiff")
    assert len(paths) == labels.max() and paths[0].is_displayed()
    plain = stroke(browser, ".stage .cells path")
    with_lines = browser.picture("large")
    browser.click("#large-outlines")
    assert not browser.all(".stage .cells")[0].is_displayed()
    without = browser.picture("large_plain")
    assert np.count_nonzero(abs(with_lines - without).max(2) > 60) > 500
    browser.click("#large-outlines")
    browser.click("#by-score")
    colours = {stroke(browser, f".stage .s{n}") for n in range(5) if browser.all(f".stage .s{n}")}
    assert len(colours) >= 4 and plain not in colours
    assert len(browser.shown("#legend li")) == 5
    browser.picture("large_by_score")
    browser.click("#close")
    assert not browser.shown("#large")


def test_by_keyboard_alone(browser):
    def focused() -> str:
        return browser.driver.switch_to.active_element.get_attribute("class")

    for _ in range(60):  # as often as it takes
        browser.type("\ue004")  # Tab
        if "picture" in focused():
            break
    browser.type("\ue007")  # Enter
    assert browser.shown("#large-name") == ["empty.png"]
    browser.type("\ue014")  # right
    second = browser.shown("#large-name")
    assert second == [browser.run("document.querySelectorAll('#sheet h3')[1].textContent")]
    browser.type("o")
    assert not browser.all(".stage .cells")[0].is_displayed()
    browser.type("o")
    browser.type("\ue012")  # left
    assert browser.shown("#large-name") == ["empty.png"]
    browser.type("\ue00c")  # Escape
    browser.until(lambda: not browser.shown("#large"))
    assert "picture" in focused()  # where it was


def test_narrow_window(browser):
    browser.resize(*NARROW)
    browser.picture("narrow")
    assert browser.run("document.documentElement.scrollWidth") <= NARROW[0]
    browser.click(PICTURE)
    browser.picture("narrow_large")
    stage = browser.all(".stage")[0].rect
    assert stage["width"] > 350 and stage["height"] > 250
    assert browser.all("#large-outlines")[0].is_displayed()


def test_dark_mode(browser):
    light = browser.picture("light")
    scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", scheme)
    dark = browser.picture("dark")
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert np.median(light) > 220 and np.median(dark) < 50


def test_slide_zooms_to_full_resolution(browser, site):
    browser.all("#find")[0].send_keys("slide")
    browser.click(PICTURE)
    links = {link.text: link for link in browser.all("#facts a")}
    assert {"overlay", "zoom"} <= set(links)
    links["zoom"].click()
    browser.until(lambda: browser.has_loaded("/lines/"))
    browser.picture("zoom_whole")
    assert not browser.has_loaded("/image/4/")
    for _ in range(5):
        browser.click("#in")
        time.sleep(0.6)  # the movement
    browser.until(lambda: browser.has_loaded("/image/4/") and browser.has_loaded("/lines/4/"))
    time.sleep(1)
    with_lines = browser.picture("zoom_closer")
    assert "µm" in browser.shown("#scale")[0]
    browser.click("#outlines")
    time.sleep(1)
    without = browser.picture("zoom_plain")
    assert np.count_nonzero(abs(with_lines - without).max(2) > 60) > 2000
    # What is seen are cells on their ground, not an empty canvas.
    middle = without[300:700, 400:1000]
    assert (np.ptp(middle.reshape(-1, 3), axis=0) > 60).all()


def test_five_hundred_images_fit_in_a_mail(tmp_path):
    made = Outputs(tmp_path / "many")
    for number in range(500):
        made.add_sample(number, f"{number:03}.png", np.linspace(0.4, 0.95, 40))
    began = time.process_time()
    report = made.report()
    seconds, size = time.process_time() - began, report.stat().st_size
    print(f"500 images: {size / 1e6:.1f} MB, {seconds:.1f} CPU seconds")
    assert size < ROOM[0] and seconds < ROOM[1]
