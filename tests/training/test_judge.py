"""What is judged by: a mean over images, and one over sources in which each counts alike."""

import csv

import pytest

from training.judge import SPLITS, Scored, by_source, group_means, judge
from training.layout import read_split


def rows():
    return [
        *[Scored("val", "many", "BF", f1) for f1 in (1.0, 0.8, 0.6)],
        *[Scored("val", "few", "BF", f1) for f1 in (0.2, 0.4)],
        Scored("val", "one", "BF", 0.0),
        Scored("val", "other", "PC", 0.5),
        Scored("probe", "new", "PC", 0.9),
    ]


def test_small_sources_are_put_together_by_modality():
    assert by_source(rows(), "val") == {
        "many": [1.0, 0.8, 0.6],
        "few of BF": [0.2, 0.4, 0.0],
        "few of PC": [0.5],
    }
    assert by_source(rows(), "probe") == {"new": [0.9]}
    assert by_source(rows(), "train") == {}


def test_the_means_in_closed_form():
    found = judge(rows())
    assert found["images"] == pytest.approx(3.5 / 7)
    assert found["sources"] == pytest.approx((0.8 + 0.2 + 0.5 + 0.9) / 4)
    assert found["judged"] == pytest.approx((found["images"] + found["sources"]) / 2)


def test_the_mean_of_each_group():
    scores = [("PC", 0.5), ("BF", 1.0), ("PC", 0.1), ("BF", 0.0), ("PC", 0.0)]
    assert list(group_means(scores).items()) == [("BF", 0.5), ("PC", pytest.approx(0.2))]
    assert group_means([]) == {}


def test_val_alone_will_do():
    found = judge(rows()[:3])
    assert found == pytest.approx({"judged": 0.8, "images": 0.8, "sources": 0.8})


def test_splits_are_read_one_after_the_other(tmp_path):
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "image", "source", "modality", "split"))
        writer.writerows(
            (name, f"{name}.png", "some", "BF", split)
            for name, split in (("a", "probe"), ("b", "val"), ("c", "train"))
        )
    assert [row["name"] for row in read_split(tmp_path, *SPLITS)] == ["b", "a"]
    assert [row["name"] for row in read_split(tmp_path, "train", "none")] == ["c"]
    assert [row["name"] for row in read_split(tmp_path, "probe")] == ["a"]
    with pytest.raises(ValueError, match="no image of split test"):
        read_split(tmp_path, "test", "val")
