"""The shipped weights on the smallest real images, end to end; on all: tests/system."""

import pytest

from app.processor import has_vnni
from tests.app.sample_scores import (
    GRAPHS,
    SAMPLE_F1,
    SAMPLES,
    TOLERANCE,
    score_samples,
)

SMALL = ["dsb2018-a5fe0b7412dd", "dsb2018-ac8169a0debe", "dsb2018-f6863b83d75e"]


@pytest.mark.parametrize("processor", GRAPHS)
def test_small_samples_are_found_as_well_as_ever(processor):
    if processor == "vnni" and not has_vnni():
        pytest.skip("this CPU would not run the graphs of integers")
    wanted = {name: SAMPLE_F1[name] for name in SMALL}
    assert score_samples(processor, SMALL) == pytest.approx(wanted, abs=TOLERANCE, rel=0)


def test_every_sample_has_its_score():
    for folder, suffix in (("images", ".png"), ("labels", "_label.tiff")):
        names = [path.name.removesuffix(suffix) for path in (SAMPLES / folder).iterdir()]
        assert sorted(names) == sorted(SAMPLE_F1)
