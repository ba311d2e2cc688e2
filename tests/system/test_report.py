"""The report in a real browser: opened from a file, clicked and typed at.

Debian's packages chromium and chromium-driver, and selenium; skipped where one of them is missing.
With REPORT_PICTURES=FOLDER the tests leave pictures of what they saw there.
"""

import shutil
import time

import cv2
import numpy as np
import pytest
import tifffile

from tests.system.report_browser import HOSTILE, OPTIONS, SAMPLES, Browser, Outputs, add_slide, done

ROOM = 20_000_000, 30.0  # bytes and CPU seconds of a report of 500 images
NARROW = (390, 844)


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
