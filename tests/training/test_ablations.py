"""Comparing systems: every stage that one needs is trained, once, and every system is scored."""

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from app.files.labels import Labels
from app.outcome import Outlined
from app.settings import SettingsError, load_settings
from tests.training.tiny_dataset import discs
from training import ablations
from training.config import load_config
from training.export import ROLES, write_settings

CONFIGS = Path("training/configs").resolve()
SHORT = f"""
extends = "{CONFIGS / "ablations.toml"}"
teacher = "early"

[method]
window = 192
stride = 128

[detector]
size = "nano"
batch = 2
crop = 64
workers = 0
warmup_steps = 1
steps = 2
validation_steps = 2

[segmenter]
batch = 2
workers = 0
warmup_steps = 1
steps = 2
validation_steps = 2

[baseline]
batch = 2
crop = 64
workers = 0
warmup_steps = 1
steps = 2
validation_steps = 2

[stage.first]
model = "detector"

[stage.second]
model = "detector"
start = "first"
unlabelled = 0.5

[stage.masks]
model = "segmenter"

[stage.classes]
model = "baseline"

[system.early]
detector = "first"
segmenter = "masks"
views = 1

[system.late]
detector = "second"
segmenter = "masks"
views = 8

[system.end-to-end]
detector = ""
segmenter = "classes"
views = 1
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "short.toml"
    path.write_text(SHORT)
    return path


def write_toy_graphs(models, method, resources, folder):
    """In place of those of the models, which take a minute and are tested in test_export.py."""
    assert [role for role, (_, note) in models.items() if "step 2 of 2" in note] == list(ROLES)
    shutil.copytree("tests/app/toy_weights", folder, dirs_exist_ok=True)
    toy = load_settings(folder)
    write_settings(dataclasses.replace(toy, method=method, resources=resources), folder)


def test_every_system_is_trained_and_scored(config, tiny_data, tmp_path, monkeypatch, capsys):
    unlabelled = tmp_path / "data" / "Train_Unlabeled" / "images"
    unlabelled.mkdir(parents=True)
    for name in ("Train_Labeled", "metadata.csv"):
        (tmp_path / "data" / name).symlink_to(tiny_data / name)
    image, label = discs(np.random.default_rng(3), 5)
    cv2.imwrite(str(unlabelled / "one.png"), image)
    # Two steps teach nothing, and without a pseudo-label there is nothing to train on.
    labels = Labels(label.astype(np.uint32), np.arange(label.max() + 1, dtype=np.uint16))
    outlined = Outlined(labels, np.ones(labels.count, np.float32))
    monkeypatch.setattr("training.prepare.pseudo_label.outline", lambda *_: outlined)
    monkeypatch.setattr("training.export.write_weights", write_toy_graphs)

    run = tmp_path / "run"
    command = [str(config), str(tmp_path / "data"), str(run)]
    assert ablations.main([*command, "--only", "late"]) == 0
    assert {path.name for path in run.iterdir()} == {
        "first",
        "masks",
        "second",
        "pseudo",
        "systems",
    }
    assert ablations.main(command) == 0
    table = capsys.readouterr().out.splitlines()[-5:]
    assert [line.split(" | ")[0] for line in table[2:]] == ["| early", "| late", "| end-to-end"]
    folder = run / "systems" / "late"
    assert sorted(path.name for path in (folder / "labels").iterdir()) == [
        f"disc{number}_label.tiff" for number in range(4, 8)
    ]
    result = json.loads((folder / "result.json").read_text())
    assert 0 <= result["all"] == result["Fluo"] <= 1

    # What is done is not done again.
    monkeypatch.setattr(ablations.Study, "train", None)
    assert ablations.main(command) == 0
    assert capsys.readouterr().out.splitlines()[-5:] == table


def test_what_a_system_needs_comes_first(config):
    study = ablations.Study(config, Path(), Path())
    needed = list(dict.fromkeys(study.needed(study.config.systems["late"])))
    assert needed == ["first", "masks", "second"]


def test_the_papers_tables_can_be_made():
    config = load_config(CONFIGS / "ablations.toml")
    stages = config.stages
    for name, system in config.systems.items():
        if system.detector:
            detectors = {stages[system.detector].start, system.detector} - {""}
            assert sum(stages[s].steps for s in detectors) == 800, name
            assert stages[system.segmenter].steps == 500
    assert {stage.seed for stage in stages.values()} == {1}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('teacher = "early"', 'teacher = "nobody"', "teacher is 'nobody'"),
        ('detector = "second"', 'detector = "masks"', "system.late names 'masks' and 'masks'"),
        ("views = 8", "views = 4", "with 4 views"),
        ('segmenter = "classes"', 'segmenter = "masks"', "or a baseline stage alone"),
    ],
)
def test_systems_that_make_no_sense_are_refused(config, old, new, message):
    config.write_text(SHORT.replace(old, new))
    with pytest.raises(SettingsError, match=message):
        load_config(config)


def test_an_unknown_system_is_refused(config, capsys):
    with pytest.raises(SystemExit):
        ablations.main([str(config), ".", ".", "--only", "none"])
    assert "no system none; it has early, late, end-to-end" in capsys.readouterr().err
