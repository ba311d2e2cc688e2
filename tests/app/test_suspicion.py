"""Which images of a run are to be looked at first, and why."""

import numpy as np
import pytest

from app.results.report.gather import Entry
from app.results.report.suspicion import TO_LOOK_AT, judge
from tests.app.report_pages import Made, entry, names


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def reasons_beside_usual(odd, usual=19):
    """The texts, and their sum."""
    found = judge([*(entry(count=95 + n) for n in range(usual)), odd])
    assert not any(found[:-1])
    return [reason.text for reason in found[-1]], sum(reason.weight for reason in found[-1])


@pytest.mark.parametrize(
    "odd, words",
    [
        (entry(count=0), "no cell"),
        (entry(count=12), "few cells: 12, in most images about 103"),
        (entry(count=900), "many cells: 900, in most images about 104"),
        (entry(area=60), "small cells: 60 px², in most images about 400"),
        (entry(area=2500), "large cells: 2,500 px², in most images about 400"),
        (entry(score=0.6), "low scores: median 0.60, in most images about 0.85"),
        (entry(at_edge=80), "many cells at the edge: 80 (80%)"),
        (entry(warnings=("something is odd",)), "something is odd"),
    ],
)
def test_why_an_image_is_suspicious(odd, words):
    texts, weight = reasons_beside_usual(odd)
    assert texts == [words] and weight >= TO_LOOK_AT


def test_an_unusual_look_is_told_but_not_enough():
    texts, weight = reasons_beside_usual(entry(note="shown at 0.5 times the usual size"))
    assert texts == ["shown at 0.5 times the usual size"] and 0 < weight < TO_LOOK_AT


def test_small_differences_are_not_suspicious():
    assert reasons_beside_usual(entry(count=180, area=700.0, score=0.79)) == ([], 0)


def test_higher_scores_are_not_suspicious():
    assert reasons_beside_usual(entry(score=0.99)) == ([], 0)


def test_nothing_is_usual_in_few_images():
    found = judge([entry(count=3, area=5000.0), *(entry() for _ in range(3))])
    assert not any(found)
    assert [r.text for r in judge([entry(score=0.5)])[0]] == ["low scores: median 0.50"]


def test_unknown_scores_and_areas_are_not_suspicious():
    unknown = Entry(name="a", is_done=True, count=100)
    assert reasons_beside_usual(unknown) == ([], 0)


def test_most_suspicious_first_then_by_name(made):
    for number in (10, 9, 1):
        made.done(f"plate{number}.png")
    made.done("few.png", np.zeros((60, 80), np.uint16))
    made.done("warned.png", warnings=["odd"])
    made.failed("failed.png", "broken")
    wanted = ["failed.png", "few.png", "warned.png", "plate1.png", "plate9.png", "plate10.png"]
    assert names(made.report()) == wanted
