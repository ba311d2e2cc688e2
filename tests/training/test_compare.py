"""Detectors compared by the boxes that they find, before they are exported."""

import shutil

import numpy as np
import pytest

from tests.training.conftest import SHIPPED
from training.judge import Scored
from training.report.compare import main, score, summarise, table
from training.tasks import DetectorTask, SegmenterTask
from training.trainer import Trainer


def perfect(images):
    """A detector that knows the boxes of each image by its pixels."""
    known = [(image.image, image.boxes) for image in images]

    def run(batch):
        (boxes,) = (
            boxes
            for pixels, boxes in known
            if np.array_equal(batch[0, : pixels.shape[0], : pixels.shape[1]], pixels)
        )
        return [boxes[None], np.ones((1, len(boxes)), np.float32)]

    return run


def test_what_finds_every_box_scores_one(tiny_images, tiny_config):
    images = [("val", image) for image in tiny_images[1]]
    images += [("probe", image) for image in tiny_images[0]]
    method = tiny_config.method.__class__(**{**vars(tiny_config.method), "max_magnification": 1.0})
    found = score(perfect([image for _, image in images]), images, method)
    assert [(row.split, row.f1) for row in found] == [(split, 1.0) for split, _ in images]


def test_means_are_over_sources_and_images():
    rows = [Scored("val", "a", "PC", f1) for f1 in (1.0, 1.0, 1.0, 0.6)]
    rows += [Scored("val", "b", "BF", f1) for f1 in (0.0, 0.0, 0.3)]
    rows += [Scored("probe", "c", "BF", 0.2), Scored("probe", "d", "BF", 0.4)]
    assert summarise(rows) == pytest.approx(
        {"probe sources": 0.3, "val sources": 0.5, "val images": 3.9 / 7, "BF": 0.1, "PC": 0.9}
    )
    lines = table({"first": rows, "second": rows}).splitlines()
    assert [line.split(" | ")[0] for line in lines] == ["| ", "| ---", "| first", "| second"]
    assert lines[2].count("|") == lines[0].count("|") == 7


def test_a_checkpoint_is_scored_where_no_image_is_of_probe(
    tmp_path, tiny_data, tiny_images, tiny_config, capsys
):
    task = DetectorTask(tiny_config.detector, tiny_config.method, *tiny_images)
    Trainer(task, tiny_config.method, tmp_path / "a" / "one").run()
    copied = shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert "probe" not in (tiny_data / "metadata.csv").read_text()
    folders = [str(folder / "one") for folder in (tmp_path / "a", copied)]
    assert main([str(SHIPPED), str(tiny_data), *(f"{f}/best.pt" for f in folders)]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {folder}/best.pt | " in printed for folder in folders)


def test_the_checkpoint_of_a_segmenter_is_refused(
    tmp_path, tiny_data, tiny_images, tiny_config, capsys
):
    task = SegmenterTask(tiny_config.segmenter, tiny_config.method, *tiny_images)
    Trainer(task, tiny_config.method, tmp_path / "masks").run()
    with pytest.raises(SystemExit) as stopped:
        main([str(SHIPPED), str(tiny_data), str(tmp_path / "masks" / "best.pt")])
    assert stopped.value.code == 2
    assert "not of a detector" in capsys.readouterr().err
