"""The gallery of the images that went worst."""

import shutil

import cv2
import numpy as np
import pytest
import tifffile

from training.layout import read_split
from training.report.gallery import main


def test_the_worst_comes_first(tiny_data, tmp_path, capsys):
    predictions = tmp_path / "predictions"
    shutil.copytree(tiny_data / "Train_Labeled" / "labels", predictions)
    worst = read_split(tiny_data, "val")[-1]["name"]
    path = predictions / f"{worst}_label.tiff"
    tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    target = tmp_path / "gallery.png"
    assert main([str(tiny_data), str(predictions), str(target), "--images", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:2] for line in lines] == ["1.", "2."]
    assert lines[0].startswith(f"1. {worst} ") and "F1 0.00" in lines[0] and "F1 1.00" in lines[1]
    left, right = np.hsplit(cv2.imread(str(target)), 2)
    image, truth, predicted = np.hsplit(left, 3)
    assert (image == predicted).all() and (image != truth).any()  # nothing was found there
    _, truth, predicted = np.hsplit(right, 3)
    assert (truth == predicted).all()


def test_a_source_that_is_not_there(tiny_data, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tiny_data), str(tmp_path), str(tmp_path / "g.png"), "--source", "none"])
    assert "no image of source none" in capsys.readouterr().err
