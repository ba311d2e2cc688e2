"""Pseudo-labels: by the look that prediction chooses, and a folder to train on."""

import csv
import dataclasses
import fcntl
import json
import os
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile

from app.files.labels import write_label
from app.predict import Predictor
from tests.app.make_toy_graphs import METHOD
from tests.training.tiny_dataset import discs
from training.data import load_image, load_labelled
from training.ignored import IGNORED, with_ignored
from training.layout import IMAGES, LABELS
from training.look import show
from training.prepare import pseudo_label
from training.prepare.pseudo_label import label_image, main
from training.prepare.pseudo_records import RECORDS
from training.views import VIEWS

TOY = Path("tests/app/toy_weights")


def test_the_folder_can_be_trained_on(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    image = np.full((48, 56), 20, np.uint8)
    image[2:18, 2:22] = image[6:32, 22:42] = 220
    cv2.imwrite(str(tmp_path / "in" / "one.two.png"), image)
    cv2.imwrite(str(tmp_path / "in" / "black.png"), np.zeros((48, 56), np.uint8))
    (tmp_path / "in" / "text.png").write_text("no image")
    assert main([str(TOY), str(tmp_path / "in"), str(tmp_path / "out"), "--min-score", "0"]) == 1
    assert "text.png" in capsys.readouterr().err
    with (tmp_path / "out" / "metadata.csv").open() as file:
        names = [row["name"] for row in csv.DictReader(file)]
    assert "one.two-0" in names
    samples = load_labelled(tmp_path / "out", "train", METHOD)
    assert [sample.name for sample in samples] == names
    labels = tmp_path / "out" / "Train_Labeled" / "labels"
    assert tifffile.imread(labels / "one.two-0_label.tiff").shape == (48, 56)


def test_labels_are_made_in_the_look_that_prediction_chooses(tmp_path, monkeypatch):
    """The toy boxes are as sure at any size, so those of a shrunk image cover more and are kept."""
    for part in (IMAGES, LABELS):
        (tmp_path / part).mkdir(parents=True)
    image, _ = discs(np.random.default_rng(0), 5)
    cv2.imwrite(str(tmp_path / "one.png"), image)
    predictor = Predictor(TOY, "cpu", 1)
    predictor.method = dataclasses.replace(
        predictor.method, window=128, stride=96, look_pixels=10**6, magnifications=[0.5]
    )
    shown, look = show(image[:, :, None], predictor)
    assert look.magnification == 0.5
    sizes = []
    run = predictor.detector
    monkeypatch.setattr(
        predictor, "detector", lambda batch: sizes.append(batch.shape) or run(batch)
    )
    assert label_image(tmp_path / "one.png", tmp_path, predictor, 0.0)
    assert {batch[1:3] for batch in sizes[-VIEWS:]} == {(64, 64)}
    written = cv2.imread(str(tmp_path / IMAGES / "one-0.png"))[:, :, ::-1]
    np.testing.assert_array_equal(written, shown[:, :])
    row = {"name": "one-0", "image": "one-0.png", "source": "pseudo", "modality": "", "split": ""}
    np.testing.assert_array_equal(load_image(tmp_path, row, METHOD).image, shown[:, :])
    twice = load_image(tmp_path, row | {"source": "ours"}, METHOD).image
    assert (twice != shown[:, :]).any()


def test_what_may_be_a_cell_is_neither_that_nor_background(images, monkeypatch):
    found = {
        (2, 2, 22, 18): 0.9,
        (1, 2, 22, 20): 0.4,  # the same cell
        (30, 20, 50, 40): 0.4,  # another, perhaps
        (30, 2, 50, 12): 0.1,  # nothing
    }
    boxes, scores = np.array(list(found), np.float32), np.array(list(found.values()), np.float32)

    def views(image, run, method, min_score, magnification):
        good = scores > min_score
        return boxes[good], scores[good]

    monkeypatch.setattr(pseudo_label, "detect_views", views)
    assert label(images, min_score="0.5") == 0
    out = images.parent / "out"
    samples = with_ignored(load_labelled(out, "train", METHOD), out / IGNORED)
    assert samples
    for sample in samples:
        assert len(sample.boxes) == 1
        np.testing.assert_array_equal(sample.ignored, boxes[2:3])
    assert label(images, min_score="0.05") == 0
    samples = with_ignored(load_labelled(out, "train", METHOD), out / IGNORED)
    assert all(not len(sample.ignored) for sample in samples)


@pytest.fixture
def images(tmp_path) -> Path:
    """A folder of three images."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    return folder


def picture(seed: int) -> np.ndarray:
    """(48, 56) uint8, in which both boxes of the toy detector hold something."""
    return discs(np.random.default_rng(seed), 5)[0][:48, :56]


def label(images: Path, name: str = "out", weights: Path = TOY, min_score: str = "0") -> int:
    """Run the command; the output is a folder beside the images."""
    output = images.parent / name
    return main([str(weights), str(images), str(output), "--min-score", min_score])


def contents(root: Path) -> dict[str, bytes]:
    """All files of a folder of pseudo-labels but the records."""
    files = [path for path in root.rglob("*") if path.is_file() and path.name != RECORDS]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def labelled(monkeypatch) -> list[str]:
    """Names of the images that are labelled from now on; one that is named "stop" ends the run."""
    seen: list[str] = []
    real = write_label

    def watched(path, labels):
        seen.append(path.name.removesuffix("-0_label.tiff"))
        if "stop" in seen:
            raise KeyboardInterrupt
        real(path, labels)

    monkeypatch.setattr(pseudo_label, "write_label", watched)
    return seen


def test_a_run_that_was_stopped_goes_on(images, labelled, capsys):
    (images / "1.png").rename(images / "stop.png")
    (images / "2.png").rename(images / "tail.png")
    with pytest.raises(SystemExit) as ended:
        label(images)
    assert ended.value.code == 130 and capsys.readouterr().err.endswith(": interrupted\n")
    out = images.parent / "out"
    assert not (out / "metadata.csv").exists()  # nothing is trained on half of the labels
    with (out / RECORDS).open("a") as file:
        file.write('\n{"image": "stop.p')  # as of a killed process
    (images / "stop.png").rename(images / "then.png")
    shutil.copyfile(out / IMAGES / "stop-0.png", out / IMAGES / "then-0.png")  # without a label
    labelled.clear()
    assert label(images) == 0
    assert labelled == ["tail", "then"]
    assert "images: 3 done (1 of them earlier, 0 without a cell), 0 failed" in (
        capsys.readouterr().out
    )
    assert label(images, "whole") == 0
    made = contents(out)
    del made[f"{IMAGES.as_posix()}/stop-0.png"]  # its image is gone
    assert made == contents(images.parent / "whole") and len(made) == 8
    labelled.clear()
    assert label(images) == 0 and labelled == []
    labelled.append("stop")
    with pytest.raises(SystemExit):
        label(images, min_score="0.1")
    assert not (out / "metadata.csv").exists()  # its labels would be of two kinds


@pytest.mark.parametrize("change", ["image", "time", "weights", "threshold", "label", "gone"])
def test_what_has_changed_is_done_again_and_nothing_else(change, images, labelled):
    assert label(images) == 0
    out, weights, score, wanted = images.parent / "out", TOY, "0", ["1"]
    before = contents(out)
    labelled.clear()
    if change == "image":
        cv2.imwrite(str(images / "1.png"), picture(9))
    elif change == "time":
        os.utime(images / "1.png", ns=(1, 1))
    elif change == "weights":
        weights, wanted = Path(shutil.copytree(TOY, images.parent / "other")), ["0", "1", "2"]
        settings = json.loads((weights / "settings.json").read_text())
        settings["method"]["mask_threshold"] *= 0.9
        (weights / "settings.json").write_text(json.dumps(settings))
    elif change == "threshold":
        score, wanted = "0.01", ["0", "1", "2"]
    elif change == "label":
        (out / LABELS / "1-0_label.tiff").unlink()
    else:
        (images / "1.png").unlink()
        wanted = []
    assert label(images, weights=weights, min_score=score) == 0
    assert labelled == wanted
    after = contents(out)
    assert (before.keys() - after.keys()) == (
        {f"{IMAGES}/1-0.png", f"{LABELS}/1-0_label.tiff"} if change == "gone" else set()
    )
    assert len(after["metadata.csv"].splitlines()) == (3 if change == "gone" else 4)
    assert (before == after) == (change in ("time", "threshold", "label"))


def test_two_images_of_one_name_are_told_and_all_others_done(images, capsys):
    for name in ("1.tif", "2.ome.tif"):
        tifffile.imwrite(images / name, picture(5))
    assert label(images) == 1
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 4
    assert errors[0].endswith("1.png: 1.png and 1.tif would be labelled as the same 1; rename all "
                              "but one")  # fmt: skip
    assert "2.ome.tif: 2.ome.tif and 2.png would" in errors[2]
    assert sorted(contents(images.parent / "out")) == [
        f"{IMAGES}/0-0.png", f"{LABELS}/0-0_label.tiff", "ignored.json", "metadata.csv",
    ]  # fmt: skip


def test_dots_in_names_stay(images):
    for number in range(3):
        (images / f"{number}.png").rename(images / f"drug.{number}.png")
    assert label(images) == 0
    assert f"{IMAGES}/drug.2-0.png" in contents(images.parent / "out")


def refused(images: Path, capsys, *arguments: Any) -> str:
    with pytest.raises(SystemExit) as ended:
        label(images, *arguments)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    return line


def test_a_folder_of_something_else_is_left_alone(images, tiny_data, tmp_path, capsys):
    assert "metadata.csv: is no work of this command" in refused(images, capsys, str(tiny_data))
    (tmp_path / "raw" / IMAGES).mkdir(parents=True)
    assert "raw/Train_Labeled/images: is no work of" in refused(images, capsys, "raw")
    assert label(images) == 0
    other = Path(shutil.copytree(images, tmp_path / "more"))
    assert "has labels of the images in " in refused(other, capsys)


def test_two_processes_do_not_label_in_one_folder(images, capsys):
    assert label(images) == 0
    capsys.readouterr()
    with (images.parent / "out" / RECORDS).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert "another process labels images in it" in refused(images, capsys)
    assert label(images) == 0


def test_an_image_that_vanishes_or_is_too_large_costs_itself(images, monkeypatch, capsys):
    real = pseudo_label.label_image

    def struck(path, *rest):
        if path.name == "0.png":
            (images / "1.png").unlink()
            raise MemoryError
        return real(path, *rest)

    monkeypatch.setattr(pseudo_label, "label_image", struck)
    assert label(images) == 1
    said = capsys.readouterr()
    first, second = said.err.splitlines()
    assert "0.png: needs more memory than there is" in first
    assert "1.png: can't be opened (No such file or directory)" in second
    assert "images: 1 done (0 of them earlier, 0 without a cell), 2 failed" in said.out


def test_an_image_of_noise_gets_no_label(tmp_path):
    noise = np.random.default_rng(1).normal(1000, 30, (300, 300)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "noise.tiff", noise)
    (tmp_path / IMAGES).mkdir(parents=True)
    stale = tmp_path / IMAGES / "noise-3.png"  # of a process that was killed, by other weights
    stale.touch()
    assert not label_image(tmp_path / "noise.tiff", tmp_path, Predictor(TOY, "cpu", 1), 0.0)
    assert not stale.exists()
