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
from tests.app.perfect_detectors import by_place, paint, see

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
        assert seen[max(0, y - 64) : y + 64, max(0, x - 64) : x + 64].all()
    # A disc touches two cells along each side, and their neighbours' surroundings; then 64 pixels.
    max_share = (4 * CELL + 2 * 64) ** 2 / seen.size
    assert seen.mean() < 0.18 + max_share * len(spots)


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


maps = st.lists(st.tuples(st.integers(0, 39), st.integers(0, 44)), max_size=12)
BESIDE = np.array([-32, -32, 32, 32])
magnifications = st.sampled_from([0.3, 0.5, 1.0, 1.37, 2.0])


def parts_of_map(full, magnification):
    """The windows of an image of 40 x 45 cells of the map, some of which are full, with the parts
    of each, and the full cells that each reaches over, all (N, 4) xyxy magnified pixels."""
    cells = np.zeros((40, 45), bool)
    for place in full:
        cells[place] = True
    height, width = (round(side * CELL * magnification) for side in cells.shape)
    places = windows((height, width), METHOD)
    ratio = 45 * CELL / width, 40 * CELL / height
    found = Ground(cells).parts(places, ratio, 32)
    assert (np.diff(found.window) >= 0).all()
    y, x = np.nonzero(cells)
    all_cells = np.stack((x, y, x + 1, y + 1), 1) * CELL / np.array([*ratio, *ratio])
    for number, place in enumerate(places):
        yield place, found.places[found.window == number], clipped(all_cells, place)


def clipped(boxes, place):
    """What lies of boxes in a window."""
    low, high = np.maximum(boxes[:, :2], place[:2]), np.minimum(boxes[:, 2:], place[2:])
    # As near to it as rounding goes is not in it.
    return np.concatenate((low, high), 1)[(high - low > 1e-6).all(1)]


def pixels(boxes):
    return (boxes[:, 2:] - boxes[:, :2]).prod(1)


@given(full=maps, magnification=magnifications)
@settings(deadline=None)
def test_each_full_cell_of_a_window_is_in_one_of_its_parts(full, magnification):
    for place, parts, cells in parts_of_map(full, magnification):
        assert (parts[:, :2] >= place[:2]).all() and (parts[:, 2:] <= place[2:]).all()
        assert (parts[:, :2] % 32 == 0).all() and (pixels(parts) > 0).all()
        for cell in cells:
            in_each = pixels(np.clip(parts, [*cell[:2]] * 2, [*cell[2:]] * 2))
            assert np.isclose(in_each.max(), pixels(cell[None])[0])
            assert np.count_nonzero(in_each > 1e-6) == 1


@given(full=maps, magnification=magnifications)
@settings(deadline=None)
def test_parts_lie_apart_and_are_no_more_than_one_around_all(full, magnification):
    for place, parts, cells in parts_of_map(full, magnification):
        for number, part in enumerate(parts):
            others = np.delete(parts, number, 0)
            assert not len(clipped(others, part + BESIDE / 2))
        if not len(cells):
            assert not len(parts)
            continue
        ends = np.array([*cells[:, :2].min(0), *cells[:, 2:].max(0)])
        around = np.array([*np.floor(ends[:2] / 32), *np.ceil(ends[2:] / 32)]) * 32
        # One cell of the grid more on each side, where rounding says that another is reached into.
        around = np.clip(around + BESIDE, [*place[:2]] * 2, [*place[2:]] * 2)
        assert pixels(parts).sum() <= pixels(around[None])[0]


def test_a_window_is_divided_where_that_saves_more_than_it_costs():
    def parts(*full):
        cells = np.zeros((24, 24), bool)
        for place in full:
            cells[place] = True
        return Ground(cells).parts(np.array([[0, 0, 1536, 1500]]), (1.0, 1.0), 32).places.tolist()

    assert parts() == []
    assert parts(np.s_[:]) == [[0, 0, 1536, 1500]]
    # Specks in two corners, and a strip at another side, to the end of the window.
    specks, strip = (np.s_[0:2, 3:5], np.s_[20:21, 6:9]), np.s_[8:24, 23]
    assert sorted(parts(*specks, strip)) == [
        [192, 0, 320, 128],
        [384, 1280, 576, 1344],
        [1472, 512, 1536, 1500],
    ]
    # A ring is a cell of which only the edge stands out.
    assert parts(np.s_[4, 4:20], np.s_[4:20, 4], np.s_[19, 4:20], np.s_[4:20, 19]) == [
        [256, 256, 1280, 1280]
    ]
    # A band of 64 x 128 pixels costs less than another part, one of 64 x 512 pixels more.
    assert len(parts(np.s_[4:6, 4], np.s_[4:6, 6])) == 1
    assert len(parts(np.s_[4:12, 4], np.s_[4:12, 6])) == 2
    # Nor does the first division save more than it costs, but it and the second do.
    assert len(parts(np.s_[4:6, 4], np.s_[4:6, 6], np.s_[20:22, 6])) == 2


@given(
    cells=st.lists(
        st.tuples(st.integers(30, 1400), st.integers(30, 1600), st.integers(8, 120)), max_size=5
    ),
)
@settings(max_examples=15, deadline=None)
def test_what_is_found_is_the_same_with_and_without_empty_ground(cells):
    label = np.zeros((1500, 1700), int)
    full = np.zeros((24, 27), bool)
    for y, x, side in cells:
        if not label[y - 3 : y + side + 3, x - 3 : x + side + 3].any():
            label[y : y + side, x : x + side] = label.max() + 1
            rows, columns = (
                slice(max(0, start // CELL - 2), (start + side) // CELL + 3) for start in (y, x)
            )
            full[rows, columns] = True
    sizes = []

    def run(batch):
        sizes.append(batch[0, :, :, 0].size)
        return see(batch)

    boxes, _ = detect(paint(label), run, METHOD)
    whole = sum(sizes)
    sizes.clear()
    again, _ = detect(paint(label), run, METHOD, ground=Ground(full))
    assert len(boxes) == label.max()
    np.testing.assert_array_equal(by_place(again), by_place(boxes))
    assert sum(sizes) < whole
    assert bool(sizes) == bool(cells)  # where nothing is full, nothing is looked at


def test_the_share_is_told(tmp_path):
    image = slide([(700, 800)])
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "slide.png", image[:, :, 0])
    assert run_in(tmp_path) == 0
    assert report_of_one(tmp_path)[1]["look"]["skipped"] > 0.5
