"""Slides and folders on the workers of a Dask cluster: as on one machine, whatever dies."""

import contextlib
import dataclasses
import logging
import signal
from typing import Any, NamedTuple

import dask
import numpy as np
import pytest
import tifffile
from distributed import Client, LocalCluster

from app import predict as predict_module
from app.log import warnings_collected
from app.look import Look, Wanted
from app.running.options import parse
from app.running.plan import UsageError
from app.running.work import Worker
from app.settings import Graph, SettingsError
from cluster import slide as slide_module
from cluster.images import ImageWorker, do_images
from cluster.parts import Slide, find, outline
from cluster.run import main
from cluster.slide import SlidePredictor, do_slides
from cluster.workers import Networks, Remote, open_here, settle
from tests.app.command_line import NAMES, TOY, arguments, labels, report, report_of_one, run_in
from tests.system.worker_killer import WorkerKiller

# Smaller than the second box of the toy detector, and most cells reach into several.
BLOCK = 20


@pytest.fixture(scope="module")
def cluster():
    """Four workers of one thread; a part that ends a worker twice is given up."""
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=4, threads_per_worker=1, dashboard_address=":0") as four,
    ):
        yield four


@pytest.fixture
def killing(cluster):
    """Lets workers be killed by ``WorkerKiller`` until the test has ended."""
    with Client(cluster) as client:
        yield lambda *how: client.register_plugin(WorkerKiller(*how), name="killer")
        client.unregister_worker_plugin("killer")
        client.wait_for_workers(4, timeout=300)  # on a busy machine


@pytest.fixture
def slide(folder, monkeypatch):
    """A folder with the image of many windows and blocks, which one machine has segmented."""
    for module in (predict_module, slide_module):
        monkeypatch.setattr(module, "BLOCK", BLOCK)
    rng = np.random.default_rng(0)
    image = np.full((120, 200), 20, np.uint8)
    for y, x in np.ndindex(3, 5):
        (y0, x0), (y1, x1) = rng.integers(((0, 0), (15, 15)), ((14, 14), (40, 40)))
        image[40 * y + y0 : 40 * y + y1, 40 * x + x0 : 40 * x + x1] = rng.integers(140, 255)
    tifffile.imwrite(folder / "in" / "slide.tif", image, tile=(64, 64))
    assert run_in(folder) == 0 and report_of_one(folder)[1]["instances"] > 9
    (folder / "out").rename(folder / "one")
    return folder


def on_cluster(scheduler, folder, *more):
    given = [scheduler, *arguments(folder / "in", folder / "out", *more)]
    return in_place(given, "cluster.slide", SlidePredictor, Worker, do_slides)


def each_on_cluster(cluster, folder, *more):
    given = [cluster.scheduler_address, *arguments(folder / "in", folder / "out", *more)]
    return in_place(given, "cluster.folder", Remote, ImageWorker, do_images)


def in_place(given, name, *how):
    before = signal.getsignal(signal.SIGTERM)
    try:
        return main(given, name, "", *how)
    finally:
        signal.signal(signal.SIGTERM, before)


def assert_as_on_one(folder):
    """All files of the folder's ``out``, but for times, are those of its ``one``."""
    names = sorted(path.name for path in (folder / "one").iterdir())
    assert names == sorted(path.name for path in (folder / "out").iterdir())
    for name in names:
        if name != "run.json":
            assert (folder / "out" / name).read_bytes() == (folder / "one" / name).read_bytes()


def known_of(record):
    """What run.json tells of an image, but for what differs from run to run."""
    other = ("run", "time", "seconds", "peak_memory")
    return {key: value for key, value in record.items() if key not in other}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.smoke), 2])
def test_a_slide_is_that_of_one_machine(workers, slide):
    with LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0") as few:
        assert on_cluster(few.scheduler_address, slide) == 0
    assert_as_on_one(slide)


def test_a_slide_by_four_workers_with_all_results_and_its_record(slide, cluster):
    (slide / "one").rename(slide / "out")
    options = "--results", "table,geojson,rois,overlay", "--exclude-edges", "--min-area", "30"
    assert run_in(slide, *options) == 0
    whole, image = report_of_one(slide)
    (slide / "out").rename(slide / "one")
    assert on_cluster(cluster.scheduler_address, slide, *options) == 0
    assert_as_on_one(slide)
    again, same = report_of_one(slide)
    assert image["instances"] > 4 and known_of(image) == known_of(same)
    assert {**whole, "runs": 0, "images": 0} == {**again, "runs": 0, "images": 0}


@pytest.mark.parametrize(("kind", "nth"), [("choose", 1), ("find", 2), ("outline", 2), ("draw", 2)])
def test_a_worker_that_is_killed_costs_nothing(kind, nth, slide, cluster, killing, tmp_path):
    marks = tmp_path / "marks"
    marks.mkdir()
    killing([kind], nth, marks)
    assert on_cluster(cluster.scheduler_address, slide) == 0
    assert (marks / kind).exists()  # it was
    assert_as_on_one(slide)


def test_what_no_worker_survives_fails_by_name(slide, cluster, killing, capsys):
    killing(["outline"], 1, None)
    assert on_cluster(cluster.scheduler_address, slide) == 1
    assert "slide.tif: ended 2 workers, most likely for want of memory" in capsys.readouterr().err
    assert not labels(slide) and report_of_one(slide)[1]["status"] == "failed"


def test_what_a_worker_warns_of_is_recorded_with_the_image(tmp_path):
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        for side in (96, 64):
            file.write(np.full((side, side), 7, np.uint8), metadata=None)
    opened = open_here(Networks(TOY.resolve(), "cpu", 1, "float"))
    networks = opened.networks
    place, look = np.array([[0, 0, 64, 64]]), Look((0,), ((0.0, 9.0),), 1.0)
    found = find(Slide(tmp_path / "two.tif", "refuse", networks), look, place)
    assert len(found[1]) == 1 and found[1][0].startswith("2 images in the file")
    predictor = SlidePredictor(None, networks, opened, Wanted(), None)
    with warnings_collected() as texts:
        assert predictor._tell(found) is found[0]
    assert texts == found[1]


def test_each_mask_is_made_once_and_large_ones_together(slide):
    made, large_made = [], []

    class Done(NamedTuple):
        value: Any

        def done(self):
            return True

    class Here:
        """A cluster that is this process alone."""

        threads = 1

        def submit(self, part, *given, **_):
            resolved = [
                [getattr(source, "value", source) for source in each]
                if isinstance(each, list)
                else each
                for each in given[:-1]
            ]
            if part is outline:
                (large_made if given[-1] else made).append(given[2])
            return Done(part(*resolved, given[-1]))

        def results_of(self, futures, _):
            return [future.value for future in futures]

    opened = open_here(Networks(TOY.resolve(), "cpu", 1, "float"))
    predictor = SlidePredictor(Here(), opened.networks, opened, Wanted(), None)
    predictor.predict_file(slide / "in" / "slide.tif", slide / "here_label.tiff")
    label = slide / "one" / "slide_label.tiff"
    assert (slide / "here_label.tiff").read_bytes() == label.read_bytes()
    (together,), small = large_made, np.concatenate(made)
    assert ((together[:, 2:] - together[:, :2]).max(1) > BLOCK).all()
    assert ((small[:, 2:] - small[:, :2]).max(1) <= BLOCK).all()
    boxes = np.concatenate((together, small))
    assert len(np.unique(boxes, axis=0)) == len(boxes) and min(len(together), len(small)) > 3


def test_planes_of_a_stack_are_no_slides(folder, cluster, capsys):
    tifffile.imwrite(folder / "in" / "slide.tif", np.ones((9, 80, 80), np.uint8))
    assert on_cluster(cluster.scheduler_address, folder, "--stack", "each") == 1
    assert "--stack each is not for slides" in capsys.readouterr().err
    assert on_cluster(cluster.scheduler_address, folder, "--stack", "max") == 0


def test_a_folder_is_that_of_one_machine_and_a_broken_image_fails_alone(three, cluster, capsys):
    (three / "in" / "broken.png").write_bytes(b"no image")
    assert run_in(three) == 1
    images, alone = report(three)[1], labels(three)
    (three / "out").rename(three / "one")
    capsys.readouterr()
    assert each_on_cluster(cluster, three) == 1
    assert "error: " in (told := capsys.readouterr().err) and "broken.png" in told
    assert labels(three) == alone and len(alone) == 3
    again = report(three)[1]
    assert {n: known_of(r) for n, r in images.items()} == {n: known_of(r) for n, r in again.items()}


def test_a_folder_with_boxes_that_are_given(three, cluster):
    lines = [f"{name},{x},6,{x + 20},26" for x, name in enumerate(NAMES)]
    (three / "boxes.csv").write_text("\n".join(["image,x0,y0,x1,y1", *lines]))
    assert run_in(three, "--boxes", three / "boxes.csv") == 0
    alone = labels(three)
    assert each_on_cluster(cluster, three, "--boxes", three / "boxes.csv") == 0
    assert labels(three) == alone and report(three)[1]["a.png"]["instances"] == 1


def test_a_folder_loses_nothing_with_a_worker_and_resumes(three, cluster, killing, tmp_path):
    assert run_in(three) == 0
    alone = labels(three)
    (three / "out" / "b_label.tiff").unlink()
    marks = tmp_path / "marks"
    marks.mkdir()
    killing(["segment_image"], 1, marks)
    assert each_on_cluster(cluster, three, "--resume") == 0
    assert (marks / "segment_image").exists() and labels(three) == alone
    images = report(three)[1]
    assert images["a.png"]["run"] == images["c.png"]["run"] != images["b.png"]["run"]


def test_an_image_that_no_worker_survives_fails_alone(folder, three, cluster, killing, capsys):
    killing(["segment_image"], 2, None)  # each worker's first image is done
    (three / "in" / "b.png").rename(three / "b.png")
    (three / "in" / "c.png").rename(three / "c.png")
    assert each_on_cluster(cluster, three) == 0
    killing(["segment_image"], 1, None)
    assert each_on_cluster(cluster, three) == 1
    assert "a.png: ended 2 workers" in capsys.readouterr().err


def test_a_wrong_start_is_told_in_a_line(folder, cluster, capsys):
    assert on_cluster("slide.tif", folder) == 2
    assert "the scheduler's address was wanted first" in capsys.readouterr().err
    assert on_cluster(cluster.scheduler_address, folder) == 2
    assert "no image in this folder" in capsys.readouterr().err


def test_workers_that_would_find_other_cells_are_refused(capsys):
    networks = Networks(TOY.resolve(), "cpu", 1, "auto")
    opened = open_here(networks)
    other = [Graph(file="other.onnx", sha256="0" * 64, trained="")] * 2
    older = {**opened.made_by, "version": "0.0.1"}

    class TwoWorkers:
        address = "tcp://scheduler"

        def __init__(self, second, first=opened):
            self.client, self.found = self, {"tcp://a": first, "tcp://b": second}

        def run(self, *_, on_error):
            return self.found

        def waiting(self, _):
            return contextlib.nullcontext()

    settled, _ = settle(TwoWorkers(opened), networks)
    assert settled.precision == "float" and len(settled.graphs) == 2
    assert not any(capsys.readouterr())
    with pytest.raises(UsageError, match=r"tcp://b runs other.onnx, other.onnx .* --precision"):
        settle(TwoWorkers(dataclasses.replace(opened, graphs=other)), networks)
    settle(TwoWorkers(dataclasses.replace(opened, made_by=older)), networks)
    assert "tcp://b differs from tcp://a" in capsys.readouterr().err
    died = OSError("it has just died")
    assert settle(TwoWorkers(died), networks)[1] == opened
    with pytest.raises(UsageError, match="scheduler: its workers died"):
        settle(TwoWorkers(died, died), networks)
    with pytest.raises(UsageError, match="PYTHONPATH"):
        settle(
            TwoWorkers(Exception("ModuleNotFoundError(\"No module named 'cluster'\")")), networks
        )
    with pytest.raises(SettingsError, match="other"):
        settle(TwoWorkers(SettingsError("other weights")), networks)


def test_options_are_those_of_one_machine():
    """But for the threads, of which each worker has its own."""
    assert parse(["in", "out", "--threads", "1", "--threads", "3"]).threads == 3
