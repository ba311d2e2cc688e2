"""The channels and limits in which a detector is surest are shown, and what was wanted by hand."""

import numpy as np
import pytest

from app.levels import survey
from app.look import Look, Wanted
from app.predict import predict
from app.trial import choose_look
from tests.app.eye import METHOD, NOTHING, Eye, choose, picture
from tests.app.made_cells import nuclei
from tests.app.perfect_detectors import bright


def test_the_channel_in_which_it_is_surest_is_shown():
    cells = picture((500, 500), 14, 25)
    stripes = 60 + 90 * (np.arange(500) // 9 % 2)  # hide the cells where both are shown
    stripes = np.random.default_rng(2).normal(stripes[None, :, None], 4, (500, 500, 1))
    image = np.dstack([stripes, cells]).astype(np.uint8)
    look, _, usual = choose(image, Eye(40))
    assert usual.channels == (0, 1) and look.channels == (1,)
    assert choose(image, Eye(40), channel_margin=99.0)[0].channels == (0, 1)


@pytest.mark.parametrize("best", [20, 40, 56, 80])
def test_a_choice_says_why(best):
    noise = np.random.default_rng(8).normal(120, 20, (500, 500, 2))
    image = np.dstack([picture((500, 500), 20, 25), noise]).astype(np.uint8)
    choice = choose_look(image, survey(image), Eye(best), METHOD, NOTHING)
    assert choice.empty == (1, 2)
    look, usual = choice.look, choice.usual
    margins = {
        "channels": METHOD.channel_margin,
        "limits": METHOD.limits_margin,
        "magnification": 0.0,
    }
    for part, margin in margins.items():
        if part == "limits" and look.channels != usual.channels:
            continue
        changed = getattr(look, part) != getattr(usual, part)
        assert (part in choice.gains) == changed, part
        if changed:
            assert choice.gains[part] > margin


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_one_full_channel_among_noise_is_found(count):
    rng = np.random.default_rng(3)
    cells = picture((500, 500), 14, 25)
    noise = rng.normal(120, 20, (500, 500, count - 1)).astype(np.uint8)
    image = np.dstack([noise[:, :, :1], cells, noise[:, :, 1:]])
    look, boxes, _ = choose(image, Eye(40))
    alone = choose(cells, Eye(40))[1]
    assert [c for c, pair in zip(look.channels, look.limits, strict=True) if pair] == [1]
    assert len(boxes[1]) == len(alone[1]) == 25


def test_limits_that_show_sparse_cells_are_taken():
    rng = np.random.default_rng(4)
    light = nuclei(rng, (1000, 1000), 5, 14, (600, 600))[0]
    image = (light + rng.normal(100, 10, light.shape)).astype(np.uint16)[:, :, None]
    eye = Eye(40, bearable=20.0)
    look, _, usual = choose(image, eye)
    assert usual.limits[0][1] < 200 < 400 < look.limits[0][1]
    assert choose(image, eye, limits_margin=99.0)[0].limits == usual.limits


# ------------------------------------------------------------------------------ what was wanted


def test_what_is_wanted_is_taken_and_not_tried():
    image = np.dstack([picture((300, 300), 7, 25, seed) for seed in (1, 2, 3, 4)])
    free = Eye(40)
    choose(image, free)
    assert free.calls >= 6
    eye, every = Eye(40), Wanted(channels=(2,), levels=(20.0, 200.0), magnification=1.1)
    assert choose(image, eye, every)[0] == Look((2,), ((20.0, 200.0),), 1.1)
    assert eye.calls == 0
    look = choose(image, Eye(40), Wanted(diameter=14.0))[0]
    assert look.magnification == METHOD.usual_diameter / 14
    look, _, usual = choose(image, Eye(40), Wanted(channels=(1, 3)))
    assert look.channels == (1, 3) and look.magnification > usual.magnification
    look = choose(image, Eye(40), Wanted(percentiles=(2.0, 98.0), channels=(0,)))[0]
    values = image[:, :, 0][image[:, :, 0] > 0]
    assert look.limits == (pytest.approx(tuple(np.percentile(values, (2, 98)))),)


def test_without_pixels_for_trials_the_usual_look_is_taken():
    eye = Eye(40)
    look, boxes, usual = choose(picture((300, 300), 7, 25), eye, look_pixels=0)
    assert (look, boxes, eye.calls) == (usual, None, 0)


# ---------------------------------------------------------------------------------- nothing there


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_where_nothing_is_nothing_is_looked_for(channels, caplog):
    image = np.random.default_rng(7).normal(200, 9, (300, 400, channels)).astype(np.uint8)
    eye = Eye(40)
    found = predict(image, eye, bright, METHOD)
    assert found.labels.count == 0 and not found.labels[:, :].any()
    assert found.labels.shape == (300, 400)
    assert eye.calls == 0 and found.choice.look.channels == ()
    assert "nothing stands out of the noise" in caplog.text
