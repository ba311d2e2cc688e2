"""The steps and hours of training runs, from their logs."""

import dataclasses

import pytest

from training.report.hours import main
from training.tasks import SegmenterTask
from training.trainer import Trainer


def write_log(folder, *rows):
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text("\n".join(("step,loss,score,hours", *rows)) + "\n")


def test_the_last_row_of_each_log_counts(tmp_path, capsys):
    write_log(tmp_path / "run" / "one", "50,1.5,,0.25", "1000,1.0,0.7,2.5")
    write_log(tmp_path / "run" / "two", "300,1.5,,0.75")
    write_log(tmp_path / "other", "7,1.5,,1.0")
    # A folder that is given twice, or lies in another one that is given, counts once.
    runs = [tmp_path / "run", tmp_path / "other", tmp_path / "run" / "two"]
    assert main([str(run) for run in runs]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2:] == [
        f"| {tmp_path}/run/one | 1,000 | 2.50 |",
        f"| {tmp_path}/run/two | 300 | 0.75 |",
        f"| {tmp_path}/other | 7 | 1.00 |",
        "| all | 1,307 | 4.25 |",
    ]


def test_a_log_is_one_that_training_writes(tiny_images, tiny_config, tmp_path, capsys):
    config = dataclasses.replace(tiny_config.segmenter, steps=3)
    task = SegmenterTask(config, tiny_config.method, *tiny_images)
    Trainer(task, tiny_config.method, tmp_path / "one").run()
    assert main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "| all | 3 | 0.00 |"


@pytest.mark.parametrize(
    ("rows", "found"),
    [
        (None, "no log.csv in it or below; give the folder of a training run"),
        ((), "log.csv: its last row has no step and hours"),
        (("50,1.5,,",), "log.csv: its last row has no step and hours"),
        (("50",), "log.csv: its last row has no step and hours"),
    ],
)
def test_what_is_no_run_is_said(rows, found, tmp_path, capsys):
    if rows is not None:
        write_log(tmp_path / "run", *rows)
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path / "run")])
    error = capsys.readouterr().err
    assert found in error and error.count("\n") == 1
