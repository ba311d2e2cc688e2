"""What several runs of the adapters leave behind, and how groups are split."""

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.training.publisher_files import (
    LEFT,
    LIKE,
    convert,
    folders,
    neurips,
    picture,
    rows,
    sartorius,
)
from training.prepare.splits import assign_splits


def test_running_again_adds_only_what_is_new(tmp_path, capsys):
    root = tmp_path / "root"
    pair = folders(tmp_path / "source", ["a", "b", "c", "d", "e"])
    assert convert("folders", *pair, root, *LIKE) == 0
    before = rows(root)
    files = {path: path.read_bytes() for path in root.rglob("*.*") if path.suffix != ".csv"}
    folders(tmp_path / "source", [*"abcde", "f", "g", "h"])
    picture(pair[0] / "b.png", 99)  # the same name with other pixels
    assert cv2.imwrite(str(pair[1] / "c.png"), LEFT)  # the same image with another label
    assert convert("folders", *pair, root, *LIKE, "--seed", 5) == 1
    captured = capsys.readouterr()
    for name in "bc":
        assert f"{name}.png: mine-{name} is in" in captured.err
    assert "with another image" in captured.err and "3 were there; 2 problems" in captured.out
    assert {name: row for name, row in rows(root).items() if name in before} == before
    assert len(rows(root)) == 8 and all(path.read_bytes() == old for path, old in files.items())


def test_several_data_sets_in_one_root(tmp_path):
    root = tmp_path / "root"
    assert convert("sartorius", sartorius(tmp_path / "one"), root) == 0
    before = (root / "metadata.csv").read_bytes()
    source = neurips(tmp_path / "two", "Train_Labeled", "Train_Unlabeled")
    assert convert("neurips", source, root) == 0
    assert (root / "metadata.csv").read_bytes().startswith(before)
    assert [row["source"] for row in rows(root).values()] == ["sartorius"] * 3 + ["neurips22"] * 5
    assert len(list((root / "Train_Unlabeled" / "images").iterdir())) == 2


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["sartorius", "nowhere", "root"], "nowhere: isn't there; give a folder, a zip file or"),
        (["sartorius", "source", "root", "--val-share", "20"], "--val-share is 20.0; give a share"),
        (["sartorius", "source", "source/train.csv"], "train.csv: no folder"),
        (["sartorius", "source", "other"], "metadata.csv: lacks channels, dtype, group"),
        (["sartorius", "broken.zip", "root"], "not a zip file"),
        (["folders", "source", "root", *LIKE], "1 sources; wanted two"),
        (
            ["folders", "source", "source", "root", *LIKE, "--group-pattern", "("],
            "--group-pattern (",
        ),
        (
            ["neurips", "source", "root", "--table", "table.csv"],
            "a row has {'name': 'a', 'modality'",
        ),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, capsys, arguments, found):
    monkeypatch.chdir(tmp_path)
    sartorius(tmp_path / "source")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "metadata.csv").write_text("name,split\n")
    (tmp_path / "broken.zip").write_bytes(b"PK nothing")
    (tmp_path / "table.csv").write_text("name,modality\na,X-ray\n")
    with pytest.raises(SystemExit) as exit_info:
        convert(*arguments)
    assert exit_info.value.code == 2 and found in capsys.readouterr().err
    assert not list(tmp_path.rglob("*_label.tiff"))


@pytest.mark.parametrize("command", ["livecell", "sartorius", "neurips"])
def test_a_source_of_something_else(tmp_path, capsys, command):
    picture(tmp_path / "source" / "image.png")
    assert convert(command, tmp_path / "source", tmp_path / "root") == 1
    assert "wanted" in capsys.readouterr().err and not rows(tmp_path / "root")


SIZES = st.dictionaries(st.text(max_size=4), st.integers(1, 30), min_size=1, max_size=40)


@given(sizes=SIZES, more=SIZES, share=st.floats(0.05, 0.95), seed=st.text(max_size=3))
def test_splits(sizes, more, share, seed):
    splits = assign_splits(sizes, {}, share, seed)
    assert splits.keys() == sizes.keys()
    val = sum(sizes[group] for group, side in splits.items() if side == "val")
    assert abs(val - share * sum(sizes.values())) <= max(sizes.values())
    if len(sizes) > 1:
        assert set(splits.values()) == {"train", "val"}
    assert assign_splits(dict(reversed(sizes.items())), {}, share, seed) == splits
    later = assign_splits({**sizes, **more}, splits, share, seed)
    assert later.keys() == {**sizes, **more}.keys() and later.items() >= splits.items()


def test_a_share_of_0_or_1_leaves_one_side_empty():
    assert set(assign_splits({"a": 1, "b": 2}, {}, 0, "1").values()) == {"train"}
    assert set(assign_splits({"a": 1, "b": 2}, {}, 1, "1").values()) == {"val"}


def test_seeds_differ():
    sizes = dict.fromkeys(map(str, range(20)), 1)
    assert len({tuple(assign_splits(sizes, {}, 0.5, str(n)).items()) for n in range(9)}) > 1
