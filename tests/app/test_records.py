"""How images were shown: what is told of it in run.json and in a line."""

import dataclasses
import math

import numpy as np
import pytest

from app.ground import Ground
from app.look import Look
from app.outcome import Outcome
from app.predict import Predictor
from app.running.records import describe, messages, outcome_record
from app.trial import Choice
from tests.app.command_line import label, report_of_one, run_in, write
from tests.app.stains import NAMES, write_ome


def test_what_is_shown_is_told(folder):
    write_ome(folder / "in" / "a.ome.tif")
    assert run_in(folder) == 0
    whole, image = report_of_one(folder)
    assert image["look"] == {
        "channels": [0, 1, 2],
        "names": NAMES,
        "empty": [0, 2],
        "limits": [None, [200.0, 2200.0], None],
        "magnification": 1.0,
        "skipped": 0.0,
        "usual": True,
        "gains": {},
    }
    assert all(whole[k] is None for k in ("channels", "percentiles", "levels", "diameter"))
    assert "note" not in image and "choice" not in image and "channel_names" not in image


GROUND = Ground(np.ones((1, 1), bool))
LOOK = Look((0, 1, 2), ((5.0, 90.0), (120.0, 1234.56789), None), 1.4)


@pytest.mark.parametrize(
    ("changes", "names", "line"),
    [
        ({"channels": (1,), "limits": LOOK.limits[1:2]}, NAMES, "by channel 1 (CD45)"),
        ({"channels": (0, 1), "limits": LOOK.limits[:2]}, [], "by channels 0 and 1"),
        (
            {"channels": (2,), "limits": ((120.0, 3400.0),), "magnification": 0.7},
            ["", "", ""],
            "by channel 2, with limits 120 to 3400, at 0.5 times the usual size",
        ),
        (
            {"limits": ((5.0, 70.0), *LOOK.limits[1:])},
            NAMES,
            "with limits 5 to 70, 120 to 1234.6",
        ),
        ({"magnification": 2.8}, NAMES, "at 2 times the usual size"),
    ],
)
def test_only_what_differs_is_told(changes, names, line):
    assert describe(dataclasses.replace(LOOK, **changes), LOOK, names) == f"shown {line}"


def test_a_line_stays_short():
    many = Look(tuple(range(20)), ((0.0, 1.0),) * 20, 1.0)
    other = dataclasses.replace(many, limits=((0.0, 2.0),) * 20)
    assert describe(other, many, []) == "shown with other limits"


def test_another_look_is_told_in_a_line_and_in_the_report(folder, capsys, monkeypatch):
    write_ome(folder / "in" / "a.ome.tif")
    real = Predictor.predict_file

    def changed(self, *arguments):
        other = Look((1,), ((120.0, 3400.123456789),), 0.5)
        outcome = real(self, *arguments)
        choice = outcome.choice._replace(look=other, gains={"magnification": 0.25})
        return dataclasses.replace(outcome, choice=choice)

    monkeypatch.setattr(Predictor, "predict_file", changed)
    assert run_in(folder) == 0
    line = "shown by channel 1 (CD45), with limits 120 to 3400.1, at 0.5 times the usual size"
    assert f"\na.ome.tif: {line}\n" in capsys.readouterr().err
    image = report_of_one(folder)[1]
    assert image["note"] == line
    assert image["look"] == {
        "channels": [1],
        "names": ["CD45"],
        "empty": [0, 2],
        "limits": [[120.0, 3400.12346]],
        "magnification": 0.5,
        "skipped": 0.0,
        "usual": False,
        "gains": {"magnification": 0.25},
    }


def test_an_image_of_nothing_is_warned_of(folder, capsys):
    noise = np.random.default_rng(0).normal(100, 5, (200, 220)).round().astype(np.uint8)
    write(folder / "in" / "a.png", noise)
    assert run_in(folder) == 0
    (warning,) = report_of_one(folder)[1]["warnings"]
    assert warning.startswith("nothing stands out of the noise")
    assert f"warning: a.png: {warning}\n" in capsys.readouterr().err
    assert report_of_one(folder)[1]["look"]["channels"] == [] and not label(folder).any()


def test_what_is_not_finite_is_null():
    look = Look((0,), ((-math.inf, 1 / 3),), 1.0)
    choice = Choice(look, look, (), {}, None, GROUND, 0.0)
    outcome = Outcome(4, 5, 1, "float64", None, 0, (), choice, {})
    assert outcome_record(outcome)["look"]["limits"] == [[None, 0.333333333]]


def test_an_image_that_crashed_another_run_is_told_without_warnings():
    record = {"run": "x", "image": "a.png", "status": "failed", "error": "a.png: ended"}
    assert list(messages(record)) == ["error: a.png: ended"]
