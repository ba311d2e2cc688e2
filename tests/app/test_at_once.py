"""Small images are done several at once, where that is better, and come out as alone."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tifffile

from app.running import run as runs
from tests.app.command_line import NAMES, labels, picture, report, run_in, write
from tests.app.crashing import GUARD
from tests.app.make_toy_graphs import RESOURCES


@pytest.fixture
def meeting(monkeypatch):
    """Where two images have to be at work at once; broken if they are not."""
    place = threading.Barrier(2, timeout=GUARD)
    real = runs.Predictor.predict_file

    def met(*arguments):
        place.wait()
        return real(*arguments)

    monkeypatch.setattr(runs.Predictor, "predict_file", met)


def test_small_images_are_done_together_and_come_out_as_alone(three, meeting, monkeypatch):
    write(three / "in" / "d.png", picture(103))
    assert run_in(three, "--threads", "2") == 0
    together = labels(three)
    monkeypatch.undo()
    assert run_in(three, "--threads", "1") == 0
    assert labels(three) == together and len(together) == 4


@pytest.mark.parametrize(
    ("why", "at_once", "submitted"),
    [("together", 2, 3), ("one thread", 1, 0), ("little memory", 1, 0), ("large images", 2, 0)],
)
def test_images_are_done_alone_where_that_is_better(why, at_once, submitted, three, monkeypatch):
    pools = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, threads):
            super().__init__(threads)
            self.threads, self.submitted = threads, 0
            pools.append(self)

        def submit(self, *work):
            self.submitted += 1
            return super().submit(*work)

    monkeypatch.setattr("app.running.loop.ThreadPoolExecutor", Pool)
    more = ["--threads", "1" if why == "one thread" else "2"]
    if why == "little memory":
        more += ["--max-memory", str(RESOURCES.working_memory * 1.9 / 1e9)]
    if why == "large images":
        for name in NAMES:
            write(three / "in" / name, np.zeros((64, 65), np.uint8))
    assert run_in(three, *more) == 0 and len(labels(three)) == 3
    assert [(pool.threads, pool.submitted) for pool in pools] == [(at_once, submitted)]


def test_a_warning_is_told_of_its_own_image(three, meeting):
    (three / "in" / "c.png").unlink()
    planes = np.stack([picture(100).astype(np.uint16)] * 3)
    tifffile.imwrite(three / "in" / "b.png", planes, photometric="minisblack")
    assert run_in(three, "--threads", "2") == 0
    images = report(three)[1]
    assert images["a.png"]["warnings"] == [] and len(images["b.png"]["warnings"]) == 1
