"""Labelled images of a split."""

import numpy as np
import pytest

from app.files.open import find_images
from training.data import load_labelled
from training.data import main as link_split


def test_labels_of_another_size_are_refused(tiny_data, tiny_config, monkeypatch):
    wrong = np.zeros((7, 7), np.uint16)
    monkeypatch.setattr("training.data.load_label", lambda path: wrong)
    with pytest.raises(ValueError, match=r"disc\d\.png: image is .*label is \(7, 7\)"):
        load_labelled(tiny_data, "train", tiny_config.method)


def test_a_split_that_is_not_there_is_refused(tiny_data, tiny_config):
    with pytest.raises(ValueError, match="no image of split test"):
        load_labelled(tiny_data, "test", tiny_config.method)


def test_a_split_is_linked_into_a_folder(tiny_data, tmp_path):
    assert link_split([str(tiny_data), "val", str(tmp_path / "val")]) == 0
    names = sorted(path.name for path in (tmp_path / "val").iterdir())
    assert names == [f"disc{number}.png" for number in range(4, 8)]
    assert find_images(tmp_path / "val")[0].read_bytes().startswith(b"\x89PNG")
    (tmp_path / "val" / names[1]).unlink()
    assert link_split([str(tiny_data), "val", str(tmp_path / "val")]) == 0
    assert sorted(path.name for path in (tmp_path / "val").iterdir()) == names


def test_no_file_of_others_is_taken_for_a_link(tiny_data, tmp_path, capsys):
    (tmp_path / "disc5.png").write_text("mine")
    with pytest.raises(SystemExit):
        link_split([str(tiny_data), "val", str(tmp_path)])
    assert "disc5.png: is there and is not " in capsys.readouterr().err
    assert (tmp_path / "disc5.png").read_text() == "mine"
