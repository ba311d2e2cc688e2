"""Empty ground is passed over, and nothing of what stands on it."""

import dataclasses

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from app.detect import detect
from app.ground import Ground, ground_of
from app.levels import CELL, survey
from app.look import Wanted, usual_look
from app.normalise import Normalised
from app.tile import windows
from tests.app.command_line import report_of_one, run_in, write
from tests.app.eye import METHOD as EYE
from tests.app.perfect_detectors import LARGE

METHOD = dataclasses.replace(
    EYE, window=512, stride=384, max_magnification=1.0, min_content=0.02, pad_value=0
)


def slide(spots, shape=(1500, 1700), noise=1.0, level=200):
    """Bright ground with a little noise, and a dark disc of 20 pixels at each (y, x)."""
    rng = np.random.default_rng(0)
    image = np.full(shape, float(level))
    y, x = np.indices(shape)
    for row, column in spots:
        image[(y - row) ** 2 + (x - column) ** 2 < 100] = 60
    # So much of something that the range is not that of the noise.
    image[:64] = np.where(x[:64] // 16 % 2, 20, 240)
    image = image + rng.normal(0, noise, shape)
    return np.rint(image.clip(1, 255)).astype(np.uint8)[:, :, None]


def seen_of(image, **changes):
    """The parts of the image that the detector is shown, as a mask."""
    method = dataclasses.replace(METHOD, **changes)
    look = usual_look(survey(image), method, Wanted())
    ground = ground_of(survey(image), look, method.min_content)
    seen = np.zeros(image.shape[:2], bool)

    class Marked:
        shape, dtype = (*image.shape[:2], 3), np.dtype(np.uint8)

        def __getitem__(self, window):
            seen[window] = True
            return Normalised(image, look.limits, look.channels)[window]

    def nothing(batch):
        return [np.zeros((len(batch), 1, 4), np.float32), np.zeros((len(batch), 1), np.float32)]

    detect(Marked(), nothing, method, magnification=look.magnification, ground=ground)
    return seen


@given(
    spots=st.lists(st.tuples(st.integers(10, 1489), st.integers(10, 1689)), max_size=4),
)
@settings(max_examples=15, deadline=None)
def test_what_stands_out_is_seen_with_what_is_around_it(spots):
    seen = seen_of(slide(spots))
    for y, x in spots:
        assert seen[max(0, y - 128) : y + 128, max(0, x - 128) : x + 128].all()
    assert seen.mean() < 0.18 + 0.4 * len(spots)


def test_only_empty_ground_is_passed_over():
    spots = [(700, 800)]
    assert 0.05 < seen_of(slide(spots)).mean() < 0.35
    assert seen_of(slide(spots), min_content=0.0).all()
    assert seen_of(slide(spots, noise=12)).all()  # is there something in the noise?
    assert seen_of(slide(spots, shape=(500, 510))).all()  # a single window


def test_weak_cells_are_seen_where_the_limits_show_them():
    image = slide([])
    y, x = np.indices(image.shape[:2])
    weak = (y - 1000) ** 2 + (x - 1000) ** 2 < 144
    image[weak] -= 3
    found = survey(image)
    usual = usual_look(found, METHOD, Wanted())
    assert not ground_of(found, usual, 0.02).full[1000 // CELL, 1000 // CELL]
    narrow = usual_look(found, METHOD, Wanted(levels=(190, 210)))
    assert ground_of(found, narrow, 0.02).full[1000 // CELL, 1000 // CELL]


def test_a_channel_of_noise_that_is_asked_for_is_seen_as_a_whole():
    rng = np.random.default_rng(0)
    noise = rng.normal(100, 5, (1500, 1700)).clip(0, 255).astype(np.uint8)
    image = np.dstack((slide([(700, 800)])[:, :, 0], noise))
    found = survey(image)
    assert found.channels[1].empty
    for channels, whole in (((0,), False), ((1,), True), ((0, 1), True)):
        look = usual_look(found, METHOD, Wanted(channels=channels))
        assert ground_of(found, look, 0.02).full.all() == whole


@given(
    full=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 44)), max_size=6),
    magnification=st.sampled_from([0.5, 1.0, 1.37, 2.0]),
)
@settings(deadline=None)
def test_a_part_is_the_least_that_holds_what_is_full_of_a_window(full, magnification):
    height, width = 40 * CELL, 45 * CELL
    cells = np.zeros((40, 45), bool)
    for place in full:
        cells[place] = True
    shape = round(height * magnification), round(width * magnification)
    ratio = width / shape[1], height / shape[0]
    places = windows(shape, LARGE)
    parts = Ground(cells).parts(places, ratio, 32)
    side = CELL * magnification
    for (x0, y0, x1, y1), (left, top, right, bottom) in zip(places, parts, strict=True):
        inside = [
            (row, column)
            for row, column in set(full)
            if row * side < y1 and (row + 1) * side > y0
            if column * side < x1 and (column + 1) * side > x0
        ]
        if not inside:
            assert (left, top) == (right, bottom) == (x0, y0)
            continue
        assert x0 <= left < right <= x1 and y0 <= top < bottom <= y1
        assert left % 32 == top % 32 == 0
        rows, columns = np.array(inside).T
        for begin, end, first, last, start, stop in (
            (top, bottom, rows.min(), rows.max() + 1, y0, y1),
            (left, right, columns.min(), columns.max() + 1, x0, x1),
        ):
            assert begin <= max(start, first * side) < begin + 33
            assert end - 33 < min(stop, last * side) <= end


def test_the_share_is_told(tmp_path):
    image = slide([(700, 800)])
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "slide.png", image[:, :, 0])
    assert run_in(tmp_path) == 0
    assert report_of_one(tmp_path)[1]["look"]["skipped"] > 0.5
