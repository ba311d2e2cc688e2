"""The plan of a configuration: it counts what training would, and trains nothing."""

import csv

import pytest

from training.cells import SegmenterSamples
from training.config import load_config
from training.data import load_labelled
from training.layout import COLUMNS
from training.report import plan
from training.samples import DetectorSamples

PAPER = "training/configs/paper.toml"


@pytest.fixture
def sized_data(tiny_data, tmp_path):
    """The tiny data with the columns of sizes that the challenge's layout has."""
    config = load_config(plan.Path(PAPER))
    images = load_labelled(tiny_data, "train", config.method)
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((*COLUMNS, "height", "width", "instances"))
        for image in images:
            known = image.name, f"{image.name}.png", image.source, image.modality, "train"
            writer.writerow((*known, *image.label.shape, len(image.ids)))
    return tmp_path, config, images


def test_the_plan_counts_what_training_does(sized_data, capsys, monkeypatch):
    folder, config, images = sized_data
    monkeypatch.setattr(plan, "seconds_per_step", lambda *_: 3600.0)
    assert plan.main([PAPER, str(folder)]) == 0
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == list(config.stages)
    windows = DetectorSamples(images, images, config.stages["final"], config.method)
    cells = SegmenterSamples(images, [], config.stages["segmenter"], config.method)
    assert rows[2][5:7] == [str(len(windows.windows)), str(windows.steps)]
    assert rows[3][6] == str(cells.steps)
    assert rows[2][3] == "99.00" and rows[2][8].strip(" |") == f"{windows.steps:.1f}"


def test_a_step_takes_time(tiny_config):
    for stage in (tiny_config.detector, tiny_config.segmenter):
        model = plan.MODELS[plan.model_of(stage)](stage.size)
        assert plan.seconds_per_step(model, stage, tiny_config.method) > 0
