"""The magnification at which a detector is surest is found, within bounds."""

from typing import Any

import numpy as np
import pytest

from app.detect import detect
from app.look import Wanted
from app.normalise import Normalised
from app.predict import predict
from tests.app.eye import METHOD, Eye, choose, picture
from tests.app.perfect_detectors import bright

LIMITED = Wanted(levels=(20.0, 200.0))  # only the magnification of ``picture`` is left to choose


def growth(image: np.ndarray, eye: Any, **numbers: Any) -> float:
    """By how much the look magnifies more than the usual one, of the magnifications alone."""
    look, _, usual = choose(image, eye, LIMITED, **numbers)
    assert (look.channels, look.limits) == (usual.channels, usual.limits)
    return round(look.magnification / usual.magnification, 6)


@pytest.mark.parametrize(
    ("radius", "wanted"), [(7, 2.0), (10, 1.4), (14, 1.0), (20, 0.7), (28, 0.5), (60, 0.5)]
)
def test_cells_are_shown_at_the_size_of_which_it_is_surest(radius, wanted):
    # Of 14 pixels radius at 1.4 times it sees 40.
    image = picture((600, 600), radius, 25)
    assert growth(image, Eye(40), sure_score=1.0) == wanted


def test_the_usual_size_is_kept_where_nothing_is_gained():
    image = picture((600, 600), 20, 25)
    assert growth(image, Eye(40)) == 0.7
    assert growth(image, Eye(40), look_few_penalty=9.0) == 1
    assert growth(image, Eye(40, sharp=0.0)) == 1


def test_enlarging_must_gain_more():
    image = picture((600, 600), 7, 25)
    assert growth(image, Eye(40), look_enlarged_penalty=0.1) == 2
    assert growth(image, Eye(40), look_enlarged_penalty=9.0) == 1
    assert growth(picture((600, 600), 28, 25), Eye(40), look_enlarged_penalty=9.0) == 0.5


def test_one_cell_says_less_than_many():
    for count, wanted in ((25, 0.7), (1, 1.0)):
        image = picture((600, 600), 20, count)
        assert growth(image, Eye(40), look_few_penalty=0.6) == wanted, count


def test_what_is_enlarged_must_be_large_enough_to_be_cells():
    image = picture((600, 600), 2.5, 60)  # 14 pixels at twice the usual size
    assert growth(image, Eye(14), min_look_size=8.0) > 1
    assert growth(image, Eye(14), min_look_size=25.0) == 1


def test_what_covers_far_more_is_something_else():
    def cautious(batch: np.ndarray) -> list[np.ndarray]:
        """Is surer of the whole of what is small than of the cells in it."""
        if batch.shape[1] > 700:
            return cells(batch)
        height, width = batch.shape[1:3]
        quarters = [
            (x, y, x + width // 2, y + height // 2)
            for y in (0, height // 2)
            for x in (0, width // 2)
        ]
        return [np.array([quarters], np.float32), np.full((1, 4), 0.95, np.float32)]

    cells, image = Eye(40, sharp=0.2), picture((600, 600), 14, 25)
    assert growth(image, cautious, max_look_growth=99.0) < 1
    assert growth(image, cautious, max_look_growth=4.0) == 1


def test_nothing_is_enlarged_where_it_is_sure_of_cells_of_a_good_size():
    image = picture((600, 600), 14, 25)
    eye = Eye(80, sharp=0.3)  # surest at twice the size, sure enough at the usual one
    assert growth(image, eye, sure_score=0.9) == 2
    assert growth(image, eye, sure_score=0.7) == 1
    assert growth(image, eye, sure_score=0.7, sure_size=60.0) == 2


def test_a_colour_picture_is_made_smaller_but_never_larger():
    def dark_ones(batch: np.ndarray) -> list[np.ndarray]:
        return Eye(40)(255 - batch)

    for radius, in_grey, in_colour in ((7, 2.0, 1.0), (28, 0.5, 0.5)):
        grey = 255 - picture((600, 600), radius, 25)
        assert growth(grey, dark_ones) == in_grey
        assert growth(np.dstack([grey, np.roll(grey, 1, 0), grey]), dark_ones) == in_colour


def test_ways_are_compared_by_what_is_in_the_same_part():
    # Alike everywhere; more of it is seen of what is smaller, which makes nothing surer.
    image = np.tile(picture((100, 100), 14, 1), (12, 12, 1))
    assert growth(image, Eye(23, sharp=0.6)) == 0.7


# -------------------------------------------------------------------------------------- bounds


def pixels_seen(image: np.ndarray, **numbers: Any) -> list[int]:
    """By the detector, for each magnification."""
    seen: list[int] = []

    def counted(batch: np.ndarray) -> list[np.ndarray]:
        seen.append(batch.shape[0] * batch.shape[1] * batch.shape[2])
        return Eye(40)(batch)

    choose(image, counted, LIMITED, sure_score=1.0, **numbers)
    return seen


@pytest.mark.parametrize("shape", [(300, 400), (900, 1200), (1536, 1536), (400, 1500)])
def test_each_way_sees_a_bounded_part(shape):
    seen = pixels_seen(picture(shape, 10, 60))
    assert len(seen) == 1 + len(METHOD.magnifications)
    # All of what fits into a window in the usual way; and of what is enlarged twice, twice as much.
    scale = min(1.4, 1536 / max(shape))
    whole = (shape[0] * scale + 32) * (shape[1] * scale + 32)
    assert max(seen) <= max(whole, 2.2 * METHOD.look_pixels)
    assert sum(seen) <= whole + 5 * METHOD.look_pixels


def test_of_a_large_image_each_way_sees_about_a_hundredth():
    image = np.tile(picture((500, 500), 10, 60), (6, 8, 1))
    seen = pixels_seen(image, look_pixels=20_000)
    assert len(seen) == 1 + len(METHOD.magnifications)
    assert max(seen) <= 2.4 * image.size / 100
    assert sum(seen) <= 6 * image.size / 100


def test_what_was_found_in_all_of_a_small_image_is_used_again():
    image = picture((400, 500), 14, 25)
    eye = Eye(40)
    look, boxes, usual = choose(image, eye)
    assert look == usual
    whole = Normalised(image, look.limits, look.channels)
    again = detect(whole, Eye(40), METHOD, magnification=look.magnification)
    for one, other in zip(boxes, again, strict=True):
        np.testing.assert_array_equal(one, other)
    tried = eye.calls
    found = predict(image, eye, bright, METHOD)
    assert found.choice.look == look and found.labels.count == len(again[1]) == 25
    assert eye.calls == 2 * tried


def test_all_of_a_large_image_is_seen_in_the_end():
    image = np.tile(picture((400, 400), 14, 16), (4, 5, 1))
    look, boxes, _ = choose(image, Eye(40))
    assert boxes is None
    found = predict(image, Eye(40), bright, METHOD)
    assert found.choice.look == look and found.labels.count == 16 * 20


def test_the_part_holds_something():
    # All cells in one corner of a large image.
    image = np.random.default_rng(6).normal(30, 3, (2600, 2600, 1))
    image[1800:2400, 200:900] = picture((600, 700), 20, 40)
    assert growth(image.astype(np.uint8), Eye(28)) == 0.7
