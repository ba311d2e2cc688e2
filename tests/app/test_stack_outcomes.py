"""What is told of the planes of a stack."""

import dataclasses

import numpy as np

from app.files.stacks import Grid
from app.look import Look
from app.outcome import Outcome, Plane
from app.running.records import messages, outcome_record
from app.trial import Choice
from tests.app.command_line import label, report_of_one, run_in
from tests.app.made_stacks import GROUND, LOOK, SHAPED, write_ome


def outcome_of(looks: list[Look], warnings: list[tuple[str, ...]]) -> Outcome:
    choices = [Choice(look, LOOK, (), {}, None, GROUND, 0.0) for look in looks]
    found = tuple(Plane(2, *about) for about in zip(choices, warnings, strict=True))
    grid = Grid("Z", (len(found),), tuple((number,) for number in range(len(found))))
    return Outcome(4, 5, 1, "uint8", None, 2 * len(found), ("DAPI",), choices[0], {}, grid, found)


def test_many_planes_are_told_of_in_a_few_lines():
    levels = [dataclasses.replace(LOOK, limits=((float(n), 99.0),)) for n in range(300)]
    larger = [dataclasses.replace(LOOK, magnification=2.8)] * 50
    odd = [("nothing stands out",)] * 498 + [(), ("a cell of 9 x 9 pixels",)]
    record = outcome_record(outcome_of([*levels, *larger, *[LOOK] * 150], odd))
    assert len(record["planes"]) == 500 and record["instances"] == 1000
    assert record["planes"][7]["note"] == "shown with limits 7 to 99"
    assert "note" not in record["planes"][499] and "warnings" not in record["planes"][498]
    record |= {"image": "a.tif", "status": "done"}
    record |= {"warnings": ["of the file", "nothing stands out", "a cell of 9 x 9 pixels"]}
    assert list(messages(record)) == [
        "a.tif: 300 of 500 planes shown with other limits; 50 in other ways",
        "warning: a.tif: of the file",
        "warning: a.tif: planes 0, 1, 2 and 495 more: nothing stands out",
        "warning: a.tif: plane 499: a cell of 9 x 9 pixels",
    ]


def test_planes_that_are_shown_as_usual_are_not_told_of():
    record = outcome_record(outcome_of([LOOK] * 3, [()] * 3))
    assert "note" not in record and "look" not in record
    assert (record["axes"], record["lengths"]) == ("Z", [3])


def test_the_command_line_and_its_report(folder, capsys):
    write_ome(folder / "in" / "a.ome.tif", SHAPED, "TZYX")
    assert run_in(folder) == 1
    assert "choose with --stack each, max or NUMBER" in capsys.readouterr().err
    assert run_in(folder, "--stack", "4") == 0
    one = label(folder)
    # It was done in another way, so it is done again.
    assert run_in(folder, "--stack", "each", "--resume") == 0
    found = label(folder)
    assert found.shape == SHAPED.shape
    np.testing.assert_array_equal(found[1, 1], one)
    whole, image = report_of_one(folder)
    assert whole["stack"] == "each" and image["axes"] == "TZ" and image["lengths"] == [2, 3]
    assert image["planes"][4]["plane"] == 4 and image["planes"][4]["position"] == [1, 1]
    counts = [plane["instances"] for plane in image["planes"]]
    assert counts == [int(found[place].max()) for place in np.ndindex(2, 3)]
    assert image["instances"] == sum(counts)
    made = (folder / "out" / "a_label.tiff").stat().st_mtime_ns
    assert run_in(folder, "--stack", "each", "--resume") == 0
    assert (folder / "out" / "a_label.tiff").stat().st_mtime_ns == made
