"""The benchmark of the look: a small data set in both ways, and what it says of noise."""

import csv
from pathlib import Path

import numpy as np

from app.look import Look
from benchmarks import noise
from benchmarks.look import differences, main

TOY = Path("tests/app/toy_weights")


def test_a_data_set_with_a_probe_split(tiny_data, tmp_path, capsys):
    (tmp_path / "Train_Labeled").symlink_to(tiny_data / "Train_Labeled")
    with (tiny_data / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows[0] |= {"split": "probe", "source": "new"}
    rows[1] |= {"split": "probe", "source": "ihc_deepliif_sample"}
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    main([str(tmp_path), "--weights", str(TOY)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[:3] for line in lines[2:5]] == [
        ["| val", "discs", "4"],
        ["| probe", "new", "1"],
        ["| probe", "ihc_deepliif_sample", "1"],
    ]
    # The toy settings have the usual way alone.
    assert all(line.endswith("| 0 | 0 | 0 | 0 |") for line in lines[2:5])
    means = [line.split(" | ")[1:] for line in lines if line.startswith(("| val, ", "| probe, "))]
    of_new = lines[3].split(" | ")[3]
    (apart,) = (line for line in lines if "without ihc_deepliif_sample" in line)
    assert apart.split(" | ")[1].startswith(of_new)
    assert len(means) == 4 and all(usual == look.removesuffix(" |") for usual, look in means)
    assert "the worst: discs (val), +0.0000." in "".join(lines)
    assert [line.count("|") for line in lines[-2:]] == [7, 7]


def test_a_data_set_without_one(tiny_data, capsys):
    main([str(tiny_data), "--weights", str(TOY)])
    assert "probe" not in capsys.readouterr().out


def test_what_differs():
    usual = Look((0, 1, 2), ((1.0, 9.0), (0.0, 5.0), None), 1.0)
    assert differences(usual, usual) == (False, False, False)
    assert differences(usual, Look((1,), ((0.0, 5.0),), 1.0)) == (True, False, False)
    assert differences(usual, Look((1,), ((0.0, 7.0),), 2.0)) == (True, True, True)
    assert differences(usual, Look((0, 1, 2), ((1.0, 8.0), *usual.limits[1:]), 1.0))[1]


def test_noise_is_told_and_cells_are_not(tiny_data, monkeypatch, capsys):
    monkeypatch.setattr(noise, "SIDES", (256,))
    monkeypatch.setattr(noise, "DRAWS", 1)
    main([str(tiny_data), "--noise"])
    out = capsys.readouterr().out
    assert "\n0 of 8 channels of 8 images hold nothing.\n" in out
    for name in noise.made_up():
        assert f"| {name} | 1 |" in out


def test_made_up_noise_is_what_it_says():
    rng = np.random.default_rng(0)
    white, smooth = noise.normal(rng, 256, 0.0), noise.normal(rng, 256, 2.0)
    for picture, least, most in ((white, -0.05, 0.05), (smooth, 0.9, 1.0)):
        neighbours = np.corrcoef(picture[:, 1:].ravel(), picture[:, :-1].ravel())[0, 1]
        assert least < neighbours < most
        assert picture.std() == 1 or abs(picture.std() - 1) < 1e-9
    assert len(np.unique(noise.coarse(rng, 256, 1.0))) < 16
    hot = noise.recorded(rng, 256, hot=1e-3)
    assert 20 < np.count_nonzero(hot == 60_000) < 200
