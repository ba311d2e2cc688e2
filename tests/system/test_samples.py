"""The shipped weights on all samples, end to end."""

import pytest

from app.processor import has_vnni
from tests.app.sample_scores import GRAPHS, SAMPLE_F1, TOLERANCE, score_samples

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("processor", GRAPHS)
def test_samples_are_found_as_well_as_ever(processor):
    if processor == "vnni" and not has_vnni():
        pytest.skip("this CPU would not run the graphs of integers")
    scores = score_samples(processor, list(SAMPLE_F1))
    assert scores == pytest.approx(SAMPLE_F1, abs=TOLERANCE, rel=0)
