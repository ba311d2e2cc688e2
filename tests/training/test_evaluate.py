"""The metric against closed forms, its slow twin and the command line's promises."""

import csv
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from tests.training.slow_metric import slow_counts
from training.evaluate import (
    BLOCK,
    Image,
    Row,
    Score,
    main,
    read_labels,
    remove_border_instances,
    score_image,
    summarise,
)

Labels = NDArray[np.integer]
ROOT = Path(__file__).parents[1]


def canvas(*boxes: tuple[int, int, int, int], shape: tuple[int, int] = (60, 80)) -> Labels:
    """Boxes (top, left, height, width) drawn with ids 1, 2, ... in that order."""
    labels = np.zeros(shape, np.uint16)
    for i, (top, left, height, width) in enumerate(boxes, start=1):
        labels[top : top + height, left : left + width] = i
    return labels


def disc(shape: tuple[int, int], y: float, x: float, radius: float) -> Labels:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return ((rows - y) ** 2 + (columns - x) ** 2 <= radius**2).astype(np.uint16)


def random_labels(rng: np.random.Generator, shape: tuple[int, int], cells: int) -> Labels:
    """Boxes that overlap one another, so that some are cut or in parts, with gaps in the ids."""
    labels = np.zeros(shape, np.uint32)
    ids = rng.choice(10 * cells + 1, cells, replace=False) + 1
    for i in ids:
        top, left = rng.integers(0, shape)
        height, width = rng.integers(2, 11, 2)
        labels[top : top + height, left : left + width] = i
    return labels


def perturbed(rng: np.random.Generator, labels: Labels) -> Labels:
    """The same cells under other ids, each moved by up to two pixels, some lost."""
    out = np.zeros_like(labels)
    for i in rng.permutation(np.unique(labels[labels > 0])):
        y, x = np.nonzero(labels == i)
        dy, dx = rng.integers(-2, 3, 2)
        if rng.random() < 0.9:
            inside = (y + dy >= 0) & (y + dy < labels.shape[0])
            inside &= (x + dx >= 0) & (x + dx < labels.shape[1])
            out[y[inside] + dy, x[inside] + dx] = i + 1000
    return out


# --- the counts of one image --------------------------------------------------------------------


@pytest.mark.parametrize("shift", range(1, 12))
def test_shifted_square_matches_up_to_its_closed_form_iou(shift: int) -> None:
    side = 12
    iou = (side - shift) / (side + shift)
    true, predicted = canvas((20, 20, side, side)), canvas((20, 20 + shift, side, side))
    at, above = score_image(true, predicted, [iou, math.nextafter(iou, 1)])
    assert (at.tp, at.fp, at.fn) == (1, 0, 0)
    assert (above.tp, above.fp, above.fn) == (0, 1, 1)


@pytest.mark.parametrize("distance", [10, 30, 60])
def test_shifted_disc_matches_its_closed_form_iou(distance: int) -> None:
    radius, shape = 60, (200, 260)
    lens = 2 * radius**2 * math.acos(distance / (2 * radius))
    lens -= distance / 2 * math.sqrt(4 * radius**2 - distance**2)
    iou = lens / (2 * math.pi * radius**2 - lens)
    true, predicted = disc(shape, 100, 90, radius), disc(shape, 100, 90 + distance, radius)
    below, above = score_image(true, predicted, [iou - 0.01, iou + 0.01])
    assert (below.tp, above.tp) == (1, 0)


@pytest.mark.parametrize("seed", range(40))
def test_equals_slow_twin(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (int(rng.integers(5, 50)), int(rng.integers(5, 70)))
    true = random_labels(rng, shape, int(rng.integers(0, 40)))
    predicted = perturbed(rng, true)
    thresholds = [0.2, 0.5, 0.55, 0.75, 1.0]
    block = int(rng.integers(6, 30))
    for whole_below in (0, shape[0] * shape[1], shape[0] * shape[1] + 1):
        scores = score_image(true, predicted, thresholds, whole_below, block)
        for threshold, score in zip(thresholds, scores, strict=True):
            wanted = slow_counts(true, predicted, threshold, whole_below, block)
            assert (score.true, score.predicted, score.tp) == wanted, (threshold, whole_below)


@pytest.mark.parametrize("seed", range(20))
def test_equals_slow_twin_where_many_pairs_tie(seed: int) -> None:
    """Single-row cells of length 2 to 4, shifted: IoU is often 1/3, 1/2 or 1 exactly."""
    rng = np.random.default_rng(seed)
    true, predicted = (
        np.repeat(np.arange(1, 201), rng.integers(2, 5, 200))[:400].reshape(10, 40)
        for _ in range(2)
    )
    for threshold in (1 / 3, 0.5):
        (score,) = score_image(true, predicted, [threshold])
        wanted = slow_counts(true, predicted, threshold, 10**9, 1)
        assert (score.true, score.predicted, score.tp) == wanted


def test_two_halves_tie_at_half_and_count_once() -> None:
    whole = canvas((20, 20, 10, 10))
    halves = canvas((20, 20, 10, 5), (20, 25, 10, 5))
    assert score_image(whole, halves) == [Score(true=1, predicted=2, tp=1)]
    assert score_image(halves, whole) == [Score(true=2, predicted=1, tp=1)]
    assert score_image(whole, halves, [math.nextafter(0.5, 1)])[0].tp == 0


def test_matching_is_the_largest_not_the_greediest() -> None:
    """The best pair taken first (true 2 with predicted 1) would leave both others alone."""
    true = canvas((20, 20, 10, 6), (20, 26, 10, 10))
    predicted = canvas((20, 22, 10, 11), (20, 33, 10, 6))
    iou = {(1, 1): 4 / 13, (2, 1): 7 / 14, (2, 2): 3 / 13}
    assert score_image(true, predicted, [min(iou.values())]) == [Score(2, 2, 2)]


def test_border_is_two_pixels_wide_on_every_side() -> None:
    height, width = 40, 50
    touching = [(1, 10, 5, 5), (10, 1, 5, 5), (height - 6, 10, 5, 5), (10, width - 6, 5, 5)]
    clear = [(2, 20, 5, 5), (20, 2, 5, 5), (height - 7, 20, 5, 5), (20, width - 7, 5, 5)]
    labels = canvas(*touching, *clear, shape=(height, width))
    before = labels.copy()
    left = remove_border_instances(labels)
    assert set(np.unique(left)) == {0, 5, 6, 7, 8}
    assert left.dtype == labels.dtype
    np.testing.assert_array_equal(labels, before)
    np.testing.assert_array_equal(left[left > 0], labels[left > 0])


def test_border_is_removed_from_each_side_separately() -> None:
    cut, whole = canvas((1, 20, 10, 10)), canvas((2, 20, 10, 10))
    assert score_image(cut, whole) == [Score(true=0, predicted=1, tp=0)]
    assert score_image(whole, cut) == [Score(true=1, predicted=0, tp=0)]


@pytest.mark.parametrize("shape", [(1, 1), (3, 60), (4, 4)])
def test_image_that_is_all_border_has_no_instances(shape: tuple[int, int]) -> None:
    labels = np.ones(shape, np.uint16)
    assert score_image(labels, labels) == [Score(0, 0, 0)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32, np.uint32, np.int64])
def test_ids_and_their_type_do_not_matter(dtype: type[np.integer]) -> None:
    boxes = [(5, 5, 8, 8), (20, 30, 9, 7), (40, 60, 6, 6)]
    true = canvas(*boxes)
    ids = np.array([0, 7, np.iinfo(dtype).max % 2**32, 100], dtype)
    predicted = ids[canvas(*boxes)]
    assert score_image(true, predicted, [1.0]) == [Score(3, 3, 3)]
    assert score_image(predicted, true, [1.0]) == [Score(3, 3, 3)]


def test_empty_prediction_counts_every_miss() -> None:
    true = canvas((5, 5, 8, 8), (20, 30, 9, 7))
    (score,) = score_image(true, np.zeros_like(true))
    assert (score.fn, score.fp, score.f1, score.precision, score.recall) == (2, 0, 0, 0, 0)


def test_nothing_to_find_and_nothing_found_is_zero() -> None:
    (score,) = score_image(canvas(), canvas())
    assert (score, score.f1) == (Score(0, 0, 0), 0.0)


def test_ratios() -> None:
    score = Score(true=10, predicted=5, tp=4)
    assert (score.precision, score.recall, score.fp, score.fn) == (0.8, 0.4, 1, 6)
    assert score.f1 == pytest.approx(2 * 0.8 * 0.4 / (0.8 + 0.4))


def test_shapes_must_be_equal() -> None:
    with pytest.raises(ValueError, match=r"\(60, 80\) and \(80, 60\) differ"):
        score_image(canvas(), canvas().T)


def test_image_of_25_million_pixels_is_scored_in_blocks() -> None:
    shape = (5001, 5000)
    inside, across = (100, 100, 20, 20), (300, BLOCK - 10, 20, 20)
    at_inner_edge, at_outer_edge = (500, BLOCK + 1, 20, 20), (4900, 4978, 20, 22)
    labels = canvas(inside, across, at_inner_edge, at_outer_edge, shape=shape)
    # The last block is padded, so the image's own right edge is no border there.
    assert score_image(labels, labels) == [Score(2, 2, 2)]
    # Below 25 million pixels the same cells lose only the one at the edge.
    assert score_image(labels[:4999], labels[:4999]) == [Score(3, 3, 3)]
    # An empty block still has its misses.
    assert score_image(labels, np.where(labels == 4, 0, labels)) == [Score(2, 1, 1)]


# --- files and the command line -----------------------------------------------------------------

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


def test_labels_are_read_as_they_were_written(tmp_path: Path) -> None:
    labels = np.array([[0, 1, 70_000], [2**32 - 1, 5, 0]], np.uint32)
    tifffile.imwrite(tmp_path / "a.tiff", labels, compression="zlib")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tiff"), labels)


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
