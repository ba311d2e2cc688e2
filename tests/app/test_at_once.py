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


def test_together_they_take_no_more_memory_than_one_may(three, monkeypatch):
    given = {}
    real = runs.Predictor.predict_file

    def predict(self, source, target, request, max_bytes, *rest):
        given[source.name] = max_bytes
        return real(self, source, target, request, max_bytes, *rest)

    monkeypatch.setattr(runs.Predictor, "predict_file", predict)
    write(three / "in" / "c.png", np.zeros((60, 60, 3), np.uint8))  # 10.8 kB
    working = RESOURCES.working_memory
    limit = ["--max-memory", f"{(2 * working + 10_000) / 1e9:.9f}"]
    assert run_in(three, "--threads", "2", *limit) == 0
    # Beside the working memory of the second: half of 10 kB each, and that of c.png is too much.
    assert given == {"a.png": 5000, "b.png": 5000, "c.png": working + 10_000}


def test_a_warning_is_told_of_its_own_image(three, meeting):
    (three / "in" / "c.png").unlink()
    planes = np.stack([picture(100).astype(np.uint16)] * 3)
    tifffile.imwrite(three / "in" / "b.png", planes, photometric="minisblack")
    assert run_in(three, "--threads", "2") == 0
    images = report(three)[1]
    assert images["a.png"]["warnings"] == [] and len(images["b.png"]["warnings"]) == 1
