"""What a user gets wrong ends a command of training/ in one line, with status 2."""

import shutil
from importlib import import_module
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile
import torch

from training.data import load_label
from training.errors import InputError
from training.layout import read_metadata
from training.models.detector import Detector

TOY, CHAIN = "tests/app/toy_weights", "training/configs/chain.toml"


@pytest.fixture
def places(tmp_path, tiny_data):
    """What the arguments below name: right ones, and wrong ones in a folder."""
    (tmp_path / "bad.toml").write_text("[method]\ncolour = 1\n")
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "run" / "first").mkdir(parents=True)
    (tmp_path / "run" / "first" / "best.pt").write_bytes(b"PK\x03\x04 cut off")
    (tmp_path / "run" / "segmenter").mkdir()
    (tmp_path / "short").mkdir()
    (tmp_path / "short" / "metadata.csv").write_text("name,split\na,val\n")
    (tmp_path / "image.png").write_text("no image")
    cv2.imwrite(str(tmp_path / "good.png"), np.zeros((8, 8), np.uint8))
    tifffile.imwrite(tmp_path / "label.tiff", np.ones((9, 8), np.uint16))
    (tmp_path / "cut.tiff").write_bytes(b"II*\0 cut off")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "metadata.csv").touch()
    sized = "name,image,source,modality,split,height,width,instances\na,a.png,s,BF,train,x,9,1\n"
    (tmp_path / "sized").mkdir()
    (tmp_path / "sized" / "metadata.csv").write_text(sized)
    keys = "model stage weights averaged optimiser random seconds rows step steps commit"
    stage = {"size": "odd", "batch": 1, "seed": 1}
    whole = dict.fromkeys(keys.split(), 0) | {"model": "detector", "stage": stage}
    whole |= {"weights": {}, "averaged": {}}
    half = {**whole, "stage": {**stage, "size": "s"}}
    written = {"bare": {}, "half": half, "whole": whole}
    written["text"] = {**whole, "stage": "s"}
    written["unnamed"] = {**whole, "stage": {"size": "s"}}
    written["numbers"] = {**half, "weights": dict.fromkeys(Detector("s").state_dict(), 1)}
    for name, state in written.items():
        (tmp_path / "made" / name).mkdir(parents=True)
        torch.save(state, tmp_path / "made" / name / "best.pt")
    (tmp_path / "made" / "best.pt").write_text("text")
    no_cells = Path(shutil.copytree(tiny_data, tmp_path / "no_cells"))
    other_size = Path(shutil.copytree(tiny_data, tmp_path / "other_size"))
    for number in range(8):
        path = Path("Train_Labeled", "labels", f"disc{number}_label.tiff")
        tifffile.imwrite(no_cells / path, np.zeros((96, 96), np.uint16))
        tifffile.imwrite(other_size / path, np.ones((9, 96), np.uint16))
    (tmp_path / "ignored.json").write_text('["disc0"]')
    ignoring = '[stage.first]\nignored = "ignored.json"\n'
    text = Path(CHAIN).read_text().replace("[stage.first]\n", ignoring)
    shutil.copy("training/configs/base.toml", tmp_path)  # which it extends
    (tmp_path / "ignored.toml").write_text(text)
    return {"tmp": str(tmp_path), "data": str(tiny_data), "toy": TOY, "config": CHAIN}


@pytest.mark.parametrize(
    ("command", "arguments", "found"),
    [
        ("train", "{tmp}/no.toml first {data} {tmp}/run", "no.toml: can't be read"),
        ("train", "{tmp}/bad.toml first {data} {tmp}/run", "bad.toml: "),
        ("train", "{config} first {tmp} {tmp}/run", "metadata.csv: No such file"),
        ("train", "{config} first {tmp}/short {tmp}/run", "metadata.csv: lacks image"),
        ("train", "{config} second {data} {tmp}/run", "best.pt: not a checkpoint of weights"),
        ("train", "{config} third {data} {tmp}/run", "metadata.csv: No such file"),
        ("train", "{config} first {data} {tmp}/run --start {tmp}/no.pt", "no.pt: No such file"),
        ("train", "{config} first {data} {tmp}/run --start {tmp}/text.pt", "text.pt: neither a"),
        ("train", "{config} first {tmp}/empty {tmp}/run", "metadata.csv: lacks image"),
        ("train", "{config} first {tmp}/no_cells {tmp}/run", "of 4 images to train on none has"),
        ("train", "{config} first {tmp}/other_size {tmp}/run", "disc0.png: image is (96, 96), but"),
        ("train", "{config} first {data} {tmp}/good.png", "good.png/first: Not a directory"),
        ("train", "{tmp}/ignored.toml first {data} {tmp}", "ignored.json: no boxes by image"),
        ("train", "{config} first", "required: data, run; --help explains"),
        ("export", "{config} {tmp}/made - {tmp}/out", "best.pt: not a checkpoint"),
        ("export", "{config} {tmp}/made/bare - {tmp}/out", "best.pt: has no 'model'; a checkpoint"),
        ("export", "{config} {tmp}/made/half - {tmp}/out", "best.pt: backbone."),
        ("export", "{config} {tmp}/made/whole - {tmp}/out", "best.pt: is of a detector odd; want"),
        ("export", "{config} {tmp}/made/text - {tmp}/out", "best.pt: 'stage' is a str; a table"),
        ("export", "{config} {tmp}/made/unnamed - {tmp}/out", "best.pt: its stage has no 'batch'"),
        ("export", "{config} {tmp}/made/numbers - {tmp}/out", "was wanted, found int"),
        ("export", "{config} {tmp}/run/first - {tmp}/out", "best.pt: not a checkpoint"),
        ("export", "{config} {tmp}/none - {tmp}/out", "best.pt: No such file"),
        ("export", "{config} - - {tmp}/out", "settings.json: can't be read"),
        ("choose", "{tmp} {data} {tmp}/report", "settings.json: can't be read"),
        ("choose", "{toy} {tmp} {tmp}/report", "metadata.csv: No such file"),
        ("choose", "{toy} {tmp}/other_size {tmp}/report", "wanted (96, 96)"),
        ("choose", "{toy} {data} {tmp}/good.png", "good.png: File exists"),
        ("quantise", "{toy} {tmp}", "metadata.csv: No such file"),
        ("quantise", "{toy} {tmp}/no_cells", "of 3 images of split train none has a cell"),
        ("ablations", "{tmp}/no.toml {data} {tmp}/run", "no.toml: can't be read"),
        ("data", "{data} none {tmp}/out", "no image of split none; it has train, val"),
        ("data", "{tmp} val {tmp}/out", "metadata.csv: No such file"),
        ("prepare.pseudo_label", "{toy} {tmp}/none {tmp}/out", "none: No such file"),
        ("prepare.pseudo_label", "{tmp} {tmp} {tmp}/out", "settings.json: can't be read"),
        (
            "prepare.pseudo_label",
            "{toy} {tmp}/run/first {tmp}/out",
            "no image in this folder (1 file is",
        ),
        (
            "prepare.pseudo_label",
            "{toy} {data} {tmp}/out --min-score nan",
            "--min-score nan: wanted",
        ),
        ("prepare.unlabelled_cells", "{toy} {tmp} {tmp}/out.json", "metadata.csv: No such file"),
        (
            "prepare.unlabelled_cells",
            "{toy} {data} {tmp}/out.json",
            "split train has none of neurips",
        ),
        ("report.plan", "{config} {data}", "metadata.csv: lacks height, instances, width"),
        ("report.plan", "{config} {tmp}/sized", "height, width, instances of a are x, 9, 1;"),
        ("report.gallery", "{data} {tmp} {tmp}/g.png", "disc4_label.tiff: can't be read"),
        ("report.gallery", "{data} {tmp} {tmp}/g.png --images 0", "'0': a whole number from 1 on"),
        ("report.overlay", "{tmp}/good.png {tmp}/cut.tiff {tmp}/o.png", "cut.tiff: "),
        ("report.samples_picture", "{config} first {data} {tmp}/s.png --first -3", "--first -3: "),
        ("averaged", "{tmp}/nothing", "checkpoint.pt: No such file"),
        ("evaluate", "{tmp} {tmp} --thresholds x", "x is no IoU to reach"),
        ("report.overlay", "{tmp}/image.png {tmp}/label.tiff {tmp}/o.png", "image.png: "),
        ("report.overlay", "{tmp}/good.png {tmp}/label.tiff {tmp}/o.png", "wanted (8, 8)"),
        ("report.samples_picture", "{config} nothing {data} {tmp}/s.png", "no detector or"),
        ("report.samples_picture", "{config} first {data} {tmp}/s.doc", "s.doc: can't be written"),
        (
            "report.samples_picture",
            "{config} first {data} {tmp}/s.png --sources none",
            "split train has no image of none",
        ),
    ],
)
def test_one_line(command, arguments, found, places, capsys, caplog):
    main = import_module(f"training.{command}").main
    with pytest.raises(SystemExit) as ended:
        main([argument.format(**places) for argument in arguments.split()])
    error = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert not caplog.records  # outside of pytest they would be lines, too
    assert ": error: " in error[-1] and found in error[-1]
    assert len([line for line in error if "it/s]" not in line and "image/s]" not in line]) == 1


def test_a_checkpoint_of_another_size_is_not_resumed(tiny_images, tiny_config, tmp_path):
    import dataclasses

    from training.tasks import SegmenterTask
    from training.trainer import Trainer

    config = dataclasses.replace(tiny_config.segmenter, steps=1)
    Trainer(SegmenterTask(config, tiny_config.method, *tiny_images), tiny_config.method, tmp_path)
    task = SegmenterTask(config, tiny_config.method, *tiny_images)
    Trainer(task, tiny_config.method, tmp_path).run()
    other = dataclasses.replace(config, size="slim")
    task = SegmenterTask(other, tiny_config.method, *tiny_images)
    with pytest.raises(InputError, match=r"checkpoint\.pt: is of a segmenter slimmer, but"):
        Trainer(task, tiny_config.method, tmp_path)


def test_metadata_that_is_no_table(tmp_path):
    path = tmp_path / "metadata.csv"
    path.write_text("\ufeffname,image,source,modality,split\na,a.png,s,BF,val\n", "utf-8")
    assert read_metadata(path)[0]["name"] == "a"  # as spreadsheets write it
    path.write_text("name,image,source,modality,split\na,a.png,s,BF,val\nb,b.png\n")
    with pytest.raises(InputError, match="row 2 has more or fewer values"):
        read_metadata(path)
    path.write_bytes(b"name\xff\n")
    with pytest.raises(InputError, match="not a CSV file in UTF-8"):
        read_metadata(path)


def test_large_ids_are_numbered_anew_and_none_is_lost(tmp_path):
    """65,536 + n would become n, another cell or none, in 16 bits."""
    label = np.zeros((10, 20), np.uint32)
    label[1:3, 1:4], label[4:6, 1:4], label[7:9, 1:4] = 5, 65_536, 65_541
    label[1:3, 8:12], label[4:6, 8:12] = 2**32 - 1, 1
    tifffile.imwrite(tmp_path / "large.tiff", label)
    found = load_label(tmp_path / "large.tiff")
    assert found.dtype == np.uint16 and np.array_equal(found > 0, label > 0)
    pairs = sorted(set(zip(label.ravel().tolist(), found.ravel().tolist(), strict=True)))
    assert pairs == [(0, 0), (1, 1), (5, 2), (65_536, 3), (65_541, 4), (2**32 - 1, 5)]
    full = np.arange(1, 70_001, dtype=np.uint32).reshape(100, 700)  # no background
    tifffile.imwrite(tmp_path / "full.tiff", full)
    with pytest.raises(InputError, match=r"full\.tiff: 70,000 cells, and training takes 65,535"):
        load_label(tmp_path / "full.tiff")
    most = np.arange(65_535, dtype=np.uint32).reshape(255, 257) + 2
    tifffile.imwrite(tmp_path / "most.tiff", most)
    np.testing.assert_array_equal(load_label(tmp_path / "most.tiff"), most - 1)


def test_usual_ids_stay(tmp_path):
    label = np.array([[0, 7, 7], [65_535, 0, 300]], np.int32)
    tifffile.imwrite(tmp_path / "usual.tiff", label)
    np.testing.assert_array_equal(load_label(tmp_path / "usual.tiff"), label)
