"""The look in which a detector is surest is found, within bounds, by detectors that are made up."""

import dataclasses
from typing import Any

import cv2
import numpy as np
import pytest

from app.detect import detect
from app.levels import survey
from app.look import Look, Wanted, usual_look
from app.normalise import Normalised
from app.predict import predict
from app.trial import choose_look
from tests.app.made_cells import nuclei
from tests.app.make_toy_graphs import METHOD

METHOD = dataclasses.replace(
    METHOD,
    window=1536,
    stride=1280,
    max_magnification=1.4,
    magnifications=[0.7, 0.5, 1.4, 2.0],
    look_pixels=600_000,
    nms_iou=0.5,
    crop_size=64,
)
NOTHING = Wanted()
LIMITED = Wanted(levels=(20.0, 200.0))  # only the magnification of ``picture`` is left to choose


class Eye:
    """A detector of bright blobs that is surest of those of one size.

    Args:
        best: square root of the area of the box of which it is surest, pixels as it sees them.
        sharp: how fast it gets less sure of others; of twice or half as large ones by 0.48 times
            this.
        bearable: noise, the median deviation from the median, above which it sees nothing.

    Attributes:
        calls: times it was run.
        pixels: that it has seen.
    """

    def __init__(self, best: float, sharp: float = 0.7, bearable: float = 256.0) -> None:
        self.best, self.sharp, self.bearable = best, sharp, bearable
        self.calls = self.pixels = 0

    def __call__(self, batch: np.ndarray) -> list[np.ndarray]:
        self.calls += 1
        self.pixels += batch.shape[0] * batch.shape[1] * batch.shape[2]
        seen = [self.see(image) for image in batch]
        most = max(len(scores) for _, scores in seen)
        boxes = [np.pad(boxes, ((0, most - len(boxes)), (0, 0))) for boxes, _ in seen]
        scores = [np.pad(scores, (0, most - len(scores))) for _, scores in seen]
        return [np.stack(boxes).astype(np.float32), np.stack(scores).astype(np.float32)]

    def see(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        brightest = cv2.max(cv2.max(*cv2.split(image)[:2]), image[:, :, 2])
        if self.bearable < 256:
            few = brightest[::4, ::4]
            if np.median(np.abs(few - np.median(few))) > self.bearable:
                return np.zeros((0, 4)), np.zeros(0)
        light = cv2.blur(brightest, (3, 3))
        blobs = (light > 127).astype(np.uint8)
        x, y, wide, high, area = cv2.connectedComponentsWithStats(blobs, connectivity=4)[2][1:].T
        good = (area > 12) & (wide < 300)
        boxes = np.stack((x, y, x + wide, y + high), 1)[good]
        off = np.log(np.sqrt(wide * high)[good] / self.best)
        return boxes, 0.95 - self.sharp * off**2


def picture(shape: tuple[int, int], radius: float, count: int, seed: int = 1) -> np.ndarray:
    """(H, W, 1) uint8 of bright nuclei on a dark background."""
    rng = np.random.default_rng(seed)
    image = 30 + nuclei(rng, shape, count, radius, (150, 180))[0] + rng.normal(0, 3, shape)
    return image.clip(0, 255).astype(np.uint8)[:, :, None]


def choose(
    image: np.ndarray, eye: Any, wanted: Wanted = NOTHING, **numbers: Any
) -> tuple[Look, Any, Look]:
    """The look, what was found in all of the image, and the usual look; numbers of the method."""
    method, seen = dataclasses.replace(METHOD, **numbers), survey(image)
    choice = choose_look(image, seen, eye, method, wanted)
    assert choice.usual == usual_look(seen, method, wanted)
    return choice.look, choice.found, choice.usual


def growth(image: np.ndarray, eye: Any, **numbers: Any) -> float:
    """By how much the look magnifies more than the usual one, of the magnifications alone."""
    look, _, usual = choose(image, eye, LIMITED, **numbers)
    assert (look.channels, look.limits) == (usual.channels, usual.limits)
    return round(look.magnification / usual.magnification, 6)


# -------------------------------------------------------------------------------- magnification


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


# ------------------------------------------------------------------------- channels and limits


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


def bright(crops: np.ndarray) -> list[np.ndarray]:
    """A segmenter: what is bright is the cell."""
    return [(crops.mean(3) / 255).astype(np.float32)]


def test_the_part_holds_something():
    # All cells in one corner of a large image.
    image = np.random.default_rng(6).normal(30, 3, (2600, 2600, 1))
    image[1800:2400, 200:900] = picture((600, 700), 20, 40)
    assert growth(image.astype(np.uint8), Eye(28)) == 0.7


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
