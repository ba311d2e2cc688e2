"""The command line of the metric: what it writes, what it says and how it ends."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

from tests.training.slow_metric import canvas
from training.evaluate import Image, Row, main, summarise
from training.metric import Score

ROOT = Path(__file__).parents[2]
TRUE = canvas((5, 5, 10, 10), (20, 30, 10, 10), (40, 60, 10, 10))
METADATA = """name,modality,source,split
a,BF,one,val
b,Fluo,two,val
c.v2,Fluo,two,val
d,PC,three,train
"""


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    """Labels of four images; perfect predictions of two, half of b's cells, none of d."""
    labels, predictions = tmp_path / "labels", tmp_path / "predictions"
    labels.mkdir()
    predictions.mkdir()
    (tmp_path / "metadata.csv").write_text(METADATA)
    for name in ("a", "b", "c.v2", "d"):
        tifffile.imwrite(labels / f"{name}_label.tiff", TRUE, compression="zlib")
    for name in ("a", "c.v2"):
        tifffile.imwrite(predictions / f"{name}_label.tiff", TRUE.astype(np.uint32) * 100_000)
    tifffile.imwrite(predictions / "b_label.tiff", np.where(TRUE == 1, TRUE, 0))
    return labels, predictions


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_command_line_end_to_end(folders: tuple[Path, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "training.evaluate", *map(str, folders)]
    command += ["--metadata", str(tmp_path / "metadata.csv"), "--split", "val"]
    command += ["--thresholds", "0.9", "0.5", "--csv", str(tmp_path / "new" / "scores.csv")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = read_csv(tmp_path / "new" / "scores.csv")
    assert [(row["name"], row["threshold"]) for row in rows] == [
        (name, threshold) for name in ("a", "b", "c.v2") for threshold in ("0.5", "0.9")
    ]
    assert rows[2] == {
        "name": "b",
        "modality": "Fluo",
        "source": "two",
        "threshold": "0.5",
        "true": "3",
        "predicted": "1",
        "tp": "1",
        "fp": "0",
        "fn": "2",
        "precision": "1.0000",
        "recall": "0.3333",
        "f1": "0.5000",
    }
    table = [[cell.strip() for cell in line.split("|")] for line in done.stdout.splitlines()]
    assert ["", "0.5", "modality", "Fluo", "2", "0.7500", "0.7500", ""] in table
    assert ["", "0.9", "source", "one", "1", "1.0000", "1.0000", ""] in table
    assert ["", "0.5", "overall", "all", "3", "0.8333", "1.0000", ""] in table


def test_outlines_are_means_over_images_of_means_over_their_pairs(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Image a has three pairs, one of them shifted by a pixel; b has one, and d has none."""
    shifted = np.where(TRUE == 1, 0, TRUE) + np.roll(np.where(TRUE == 1, 1, 0), 1, axis=1)
    tifffile.imwrite(folders[1] / "a_label.tiff", shifted.astype(np.uint16))
    arguments = [*map(str, folders), "--metadata", str(tmp_path / "metadata.csv")]
    assert main(arguments) == 0
    without = capsys.readouterr().out
    assert main([*arguments, "--boundary"]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{without}\n")
    assert err == f"{folders[1] / 'd_label.tiff'}: no such prediction; scored 0\n"
    boundary, mask = (2 + 18 / 54) / 3, (2 + 90 / 110) / 3
    assert out.removeprefix(f"{without}\n").splitlines() == [
        "| by       | group | images | pairs   | boundary IoU | mask IoU |",
        "|----------|-------|--------|---------|--------------|----------|",
        f"| modality | BF    |      1 |       3 |       {boundary:.4f} |   {mask:.4f} |",
        "| modality | Fluo  |      2 |       4 |       1.0000 |   1.0000 |",
        f"| overall  | all   |      3 |       7 |       {(boundary + 2) / 3:.4f} "
        f"|   {(mask + 2) / 3:.4f} |",
    ]


def test_outlines_without_metadata_and_without_a_pair(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither a prediction that can't be read nor one that meets no cell is in the means."""
    (folders[1] / "a_label.tiff").write_bytes(b"")
    tifffile.imwrite(folders[1] / "d_label.tiff", np.where(TRUE == 0, 1, 0).astype(np.uint16))
    assert main([*map(str, folders), "--boundary"]) == 1
    out, err = capsys.readouterr()
    assert err.count("a_label.tiff") == 1
    assert (
        out.splitlines()[-1] == "| overall  | all   |      2 |       4 |       1.0000 |   1.0000 |"
    )
    assert "modality" not in out
    for name in ("b", "c.v2"):
        (folders[1] / f"{name}_label.tiff").unlink()
    assert main([*map(str, folders), "--boundary"]) == 1
    assert capsys.readouterr().out.endswith(
        "\nNo pair reaches IoU 0.5, so there is no boundary IoU.\n"
    )


def test_missing_prediction_scores_zero(
    folders: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*map(str, folders), "--csv", str(tmp_path / "scores.csv")]) == 0
    out, err = capsys.readouterr()
    assert err == f"{folders[1] / 'd_label.tiff'}: no such prediction; scored 0\n"
    row = read_csv(tmp_path / "scores.csv")[-1]
    assert (row["name"], row["fn"], row["f1"], row["modality"]) == ("d", "3", "0.0000", "")
    assert "| 0.5  | overall  | all   |      4 |  0.6250 |    0.7500 |" in out
    assert "modality" not in out


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda path: tifffile.imwrite(path, TRUE.T), "shape (80, 60), wanted (60, 80)"),
        (lambda path: tifffile.imwrite(path, TRUE[None]), "shape (1, 60, 80), wanted (60, 80)"),
        (lambda path: tifffile.imwrite(path, TRUE.astype(np.float32)), "float32 values"),
        (lambda path: tifffile.imwrite(path, -TRUE.astype(np.int32)), "from -3 to 0"),
        (lambda path: path.write_bytes(b""), "can't be read"),
        (lambda path: path.write_bytes(b"no tiff at all"), "can't be read"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4000]), "can't be read"),
    ],
    ids=["transposed", "third axis", "float", "negative", "empty", "text", "truncated"],
)
def test_unusable_prediction_is_named_and_the_others_scored(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    spoil: object,
    reason: str,
) -> None:
    path = folders[1] / "a_label.tiff"
    assert callable(spoil)
    spoil(path)
    assert main([*map(str, folders), "--csv", str(tmp_path / "scores.csv")]) == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if str(path) in line]
    assert reason in line
    scores = {row["name"]: row["f1"] for row in read_csv(tmp_path / "scores.csv")}
    assert scores == {"a": "0.0000", "b": "0.5000", "c.v2": "1.0000", "d": "0.0000"}


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["{labels}", "{tmp}/nowhere"], "nowhere: no such folder"),
        (["{tmp}", "{predictions}"], "no NAME_label.tiff found"),
        (["{labels}", "{predictions}", "--split", "val"], "needs --metadata"),
        (["{labels}", "{predictions}", "--metadata", "{tmp}/nowhere.csv"], "nowhere.csv"),
        (["{labels}", "{predictions}", "--metadata", "{csv}", "--split", "no"], "has train, val"),
        (["{labels}", "{predictions}", "--metadata", "{tmp}/short.csv"], "lacks modality"),
        (["{labels}", "{predictions}", "--metadata", "{tmp}/other.csv"], "no row named a"),
        (
            ["{labels}", "{predictions}", "--metadata", "{tmp}/other.csv", "--split", "val"],
            "z_label.tiff: no such label",
        ),
        (["{labels}", "{predictions}", "--thresholds", "50"], "give one in (0, 1]"),
    ],
)
def test_wrong_usage_exits_with_2_and_writes_nothing(
    folders: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    reason: str,
) -> None:
    (tmp_path / "short.csv").write_text("name,split\na,val\n")
    (tmp_path / "other.csv").write_text("name,modality,source,split\nz,BF,one,val\n")
    known = {"labels": folders[0], "predictions": folders[1], "tmp": tmp_path}
    known["csv"] = tmp_path / "metadata.csv"
    arguments = [argument.format(**known) for argument in arguments]
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--csv", str(tmp_path / "scores.csv")])
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "scores.csv").exists()


def test_broken_label_stops_the_run(
    folders: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (folders[0] / "b_label.tiff").write_bytes(b"")
    with pytest.raises(SystemExit, match="2"):
        main([*map(str, folders)])
    assert f"{folders[0] / 'b_label.tiff'}: can't be read" in capsys.readouterr().err


def test_summary_is_the_mean_over_images_not_over_instances() -> None:
    rows = [
        Row(Image("a", "BF", "one"), 0.5, Score(true=1000, predicted=1000, tp=1000)),
        Row(Image("b", "BF", "two"), 0.5, Score(true=1, predicted=1, tp=0)),
        Row(Image("c", "BF", "two"), 0.5, Score(true=2, predicted=2, tp=1)),
    ]
    assert [(row.by, row.group, row.images, row.mean_f1) for row in summarise(rows)] == [
        ("modality", "BF", 3, 0.5),
        ("source", "one", 1, 1.0),
        ("source", "two", 2, 0.25),
        ("overall", "all", 3, 0.5),
    ]
