"""The package as it is called from Python: arrays in, labels, boxes and scores out."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from app import Segmenter
from app.files.axes import to_image
from app.look import Look
from app.predict import predict
from app.session import DeviceError
from tests.app.command_line import IMAGE, LABEL, TOY, run
from tests.app.hostile_arrays import HOSTILE, hostile
from tests.app.make_toy_graphs import BOXES, METHOD, SCORES

EMPTY = np.full_like(IMAGE, 20)
# Plane n holds cell n % 3 alone, where there is such a one.
STACK = np.stack([np.where(LABEL * (n == LABEL), 220, 20).astype(np.uint8) for n in range(3)] * 4)


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(TOY, "cpu", 1)


def test_labels_boxes_and_scores(segmenter):
    before = IMAGE.copy()
    found = segmenter.segment(IMAGE)
    np.testing.assert_array_equal(found.labels, LABEL)
    np.testing.assert_array_equal(found.boxes, BOXES[0, :2])
    np.testing.assert_array_equal(found.scores, SCORES[0, :2])
    assert (found.labels.dtype, found.boxes.dtype) == (np.uint16, np.float32)
    assert found.scores.dtype == np.float32
    assert found.look == Look((0,), ((20.0, 220.0),), 1.0) and found.is_usual
    assert found.warnings == ()
    np.testing.assert_array_equal(IMAGE, before)


def test_boxes_and_scores_are_those_of_the_cells_that_stay(segmenter):
    image = IMAGE.copy()
    image[:18, :22] = 20  # of the first box nothing is segmented
    found = segmenter.segment(image)
    np.testing.assert_array_equal(found.labels, np.where(LABEL == 2, 1, 0))
    np.testing.assert_array_equal(found.boxes, BOXES[0, 1:2])
    np.testing.assert_array_equal(found.scores, SCORES[0, 1:2])


def test_each_label_has_its_own_box_among_many_that_are_dropped():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 50, (60, 2))
    boxes = np.concatenate((corners, corners + rng.integers(1, 14, (60, 2))), 1).astype(np.float32)
    scores = np.sort(rng.uniform(0.5, 1, 60).astype(np.float32))[::-1]
    image = rng.integers(0, 256, (64, 64, 1), np.uint8)

    def detector(batch):
        return [boxes[None], scores[None]]

    def segmenter(crops):
        return [crops.mean(-1, dtype=np.float32) / 255]

    found = predict(image, detector, segmenter, METHOD)
    labels = found.labels[:, :]
    assert 0 < labels.max() == len(found.boxes) == len(found.scores) < 60
    for number, (box, score) in enumerate(zip(found.boxes, found.scores, strict=True), 1):
        ys, xs = np.nonzero(labels == number)
        inside = (xs >= box[0]) & (ys >= box[1]) & (xs < box[2]) & (ys < box[3])
        assert len(ys) and inside.all()
        assert score == scores[(boxes == box).all(1).argmax()]
    assert (np.diff(found.scores) <= 0).all()


def test_nothing_is_found_in_nothing(segmenter):
    noise = np.random.default_rng(0).normal(100, 5, (200, 220)).astype(np.float32)
    found = segmenter.segment(noise)
    assert not found.labels.any() and found.labels.shape == noise.shape
    assert found.boxes.shape == (0, 4) and found.scores.shape == (0,)
    assert found.boxes.dtype == found.scores.dtype == np.float32
    assert found.look.channels == ()
    (warning,) = found.warnings
    assert warning.startswith("nothing stands out of the noise")


@pytest.mark.parametrize("dtype", "?bBhHiIlLqQefdg" + "><")
@pytest.mark.parametrize("shape", [(), (1,), (3,)])
def test_any_real_dtype(dtype, shape, segmenter):
    dtype = {">": ">u2", "<": "<f4"}.get(dtype, dtype)
    image = (IMAGE > 100).astype(dtype)
    image = image if dtype in "?b" else image * np.array(100, dtype)
    image = np.stack([image] * shape[0], 2) if shape else image
    np.testing.assert_array_equal(segmenter.segment(image).labels, LABEL)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_what_is_not_finite(dtype, segmenter):
    image = IMAGE.astype(dtype)
    image[0, :3] = np.nan, np.inf, -np.inf
    np.testing.assert_array_equal(segmenter.segment(image).labels, LABEL)
    assert not segmenter.segment(np.ma.masked_array(image, True)).labels.any()
    image[:] = np.nan
    assert not segmenter.segment(image).labels.any()


def test_views_of_any_layout(segmenter):
    flipped = IMAGE[::-1, ::-1].copy()[::-1, ::-1]
    fixed = IMAGE.copy()
    fixed.flags.writeable = False
    for image in (flipped, fixed, np.asfortranarray(IMAGE), np.repeat(IMAGE, 2, 1)[:, ::2]):
        np.testing.assert_array_equal(segmenter.segment(image).labels, LABEL)
    np.testing.assert_array_equal(segmenter.segment(IMAGE.tolist()).labels, LABEL)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (3, 2), (130, 5), (1, 1, 3), (2, 90, 7)])
def test_images_of_any_size(shape, segmenter):
    found = segmenter.segment(np.full(shape, 200, np.uint8))
    assert found.labels.shape == shape[:2]
    assert len(found.boxes) == len(found.scores) == found.labels.max()


@pytest.mark.parametrize("value", [1j, "a", None, np.datetime64(1, "D")])
def test_what_is_no_number_is_a_type_error(value, segmenter):
    with pytest.raises(TypeError, match=r"^the array holds .* values; give "):
        segmenter.segment(np.full((40, 40), value))


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (5, 0, 3)])
def test_what_is_no_image_is_a_value_error(shape, segmenter):
    with pytest.raises(ValueError, match=r"\(H, W\) or \(H, W, C\) was wanted"):
        segmenter.segment(np.zeros(shape))


def test_channels_anywhere_are_named(segmenter):
    image = np.stack([IMAGE, EMPTY, IMAGE])
    found = segmenter.segment(image, axes="CYX")
    assert found.look.channels == (0, 1, 2)
    np.testing.assert_array_equal(found.labels, LABEL)
    planes = np.stack([image, image[::-1] // 2])
    for axes, array in (("zcyx", planes), ("SYXT", np.moveaxis(planes, 0, -1))):
        np.testing.assert_array_equal(to_image(array, axes, 0), np.moveaxis(image, 0, -1))
    many = np.stack([EMPTY] * 30, 2)
    many[:, :, 20] = IMAGE
    np.testing.assert_array_equal(segmenter.segment(many, axes="YXC").labels, LABEL)


def test_a_stack_is_refused_with_a_remedy(segmenter):
    with pytest.raises(ValueError, match=r"axes ZYX: 12 planes .* stack=NUMBER .* 0 to 11"):
        segmenter.segment(STACK)


def test_planes_of_a_stack(segmenter):
    np.testing.assert_array_equal(segmenter.segment(STACK, stack="max").labels, LABEL)
    for number in (1, np.int64(11)):
        found = segmenter.segment(STACK, stack=number)
        np.testing.assert_array_equal(found.labels, number % 3 == LABEL)
    deep = STACK.reshape(2, 6, *IMAGE.shape)
    found = segmenter.segment(deep, axes="TZYX", stack=8)
    np.testing.assert_array_equal(found.labels, LABEL == 2)
    np.testing.assert_array_equal(segmenter.segment(STACK[:1], stack="refuse").labels, 0 * LABEL)


@pytest.mark.parametrize(
    ("stack", "said"),
    [(12, "planes 0 to 11"), (-1, "was wanted"), ("mean", "was wanted"), (True, "was wanted")],
)
def test_a_wrong_plane(stack, said, segmenter):
    with pytest.raises(ValueError, match=f"stack=.*{said}"):
        segmenter.segment(STACK, stack=stack)


@pytest.mark.parametrize(
    ("arguments", "look"),
    [
        ({"channels": 1}, Look((1,), ((20.0, 220.0),), 1.0)),
        ({"channels": np.array([1, 0])}, Look((1, 0), ((20.0, 220.0), (20.0, 20.0)), 1.0)),
        ({"levels": np.array([30, 300])}, Look((0, 1), ((30.0, 300.0),) * 2, 1.0)),
        ({"percentiles": (0, 99.5)}, Look((0, 1), ((20.0, 20.0), (20.0, 220.0)), 1.0)),
        ({"magnification": 2}, Look((0, 1), (None, (20.0, 220.0)), 2.0)),
        ({"diameter": np.float32(20)}, Look((0, 1), (None, (20.0, 220.0)), 2.0)),
    ],
)
def test_how_it_is_shown_can_be_chosen(arguments, look, segmenter):
    found = segmenter.segment(np.dstack([EMPTY, IMAGE]), **arguments)
    assert found.look == look
    limits = [level for pair in found.look.limits for level in pair or ()]
    assert {type(value) for value in (*limits, found.look.magnification)} == {float}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"channels": 2}, "there is no channel 2; it has 2 channels"),
        ({"channels": [0, 0]}, "a channel twice"),
        ({"channels": []}, "numbers from 0 were wanted"),
        ({"channels": -1}, "numbers from 0 were wanted"),
        ({"channels": "DAPI"}, "^channels='DAPI': numbers from 0 were wanted"),
        ({"channels": "1"}, "numbers from 0 were wanted"),
        ({"channels": [True]}, r"^channels=\[True\]: numbers from 0 were wanted"),
        ({"channels": np.array([True])}, "numbers from 0 were wanted"),
        ({"channels": 1.0}, "numbers from 0 were wanted"),
        ({"channels": [[0]]}, "numbers from 0 were wanted"),
        ({"channels": {0}}, "numbers from 0 were wanted"),
        ({"percentiles": (99, 1)}, "from 0 to 100 were wanted, the lower one first"),
        ({"percentiles": (1, 101)}, "from 0 to 100 were wanted"),
        ({"levels": (5, 5)}, "two numbers were wanted, the lower one first"),
        ({"levels": (0, np.inf)}, "two numbers were wanted"),
        ({"levels": (0, 10**400)}, "two numbers were wanted"),
        ({"levels": "ab"}, "^levels='ab': two numbers were wanted"),
        ({"levels": (1, 2, 3)}, "two numbers were wanted"),
        ({"levels": (1, None)}, "two numbers were wanted"),
        ({"percentiles": "19"}, "^percentiles='19': two numbers from 0 to 100 were wanted"),
        ({"percentiles": 5}, "^percentiles=5: two numbers from 0 to 100 were wanted"),
        ({"percentiles": (False, True)}, "two numbers from 0 to 100 were wanted"),
        ({"percentiles": np.array(5.0)}, "two numbers from 0 to 100 were wanted"),
        ({"percentiles": np.zeros((2, 2))}, "two numbers from 0 to 100 were wanted"),
        ({"levels": (0, 5), "percentiles": (1, 99)}, "not both"),
        ({"diameter": 1}, "a number from 2 to 100000"),
        ({"diameter": "30"}, "^diameter='30': a number from 2 to 100000 was wanted"),
        ({"diameter": 30j}, "a number from 2 to 100000"),
        ({"diameter": True}, "a number from 2 to 100000"),
        ({"diameter": [30]}, "a number from 2 to 100000"),
        ({"axes": 5}, "^axes=5: a letter for each axis was wanted"),
        ({"stack": None}, "^stack=None: 'max' or the number of a plane"),
        ({"magnification": np.nan}, "a number from 0.0625 to 16"),
        ({"magnification": 1, "diameter": 9}, "not both"),
    ],
)
def test_a_wrong_choice(arguments, said, segmenter):
    with pytest.raises(ValueError, match=said):
        segmenter.segment(np.dstack([EMPTY, IMAGE]), **arguments)


def test_messages_name_what_was_given_and_no_option_of_the_command(segmenter):
    for image, name in ((IMAGE, "(48, 56)"), (np.stack([IMAGE] * 2), "(2, 48, 56)")):
        axes = "CYX"[-image.ndim :]
        for wrong in ({"channels": 5}, {"channels": [0, 0]}):
            with pytest.raises(ValueError, match=r"^array of shape \(") as raised:
                segmenter.segment(image, axes=axes, **wrong)
            assert f"array of shape {name}: " in str(raised.value)
            assert "--" not in str(raised.value)
    wide = np.broadcast_to(np.uint8(7), (40_000, 30_000))
    with pytest.raises(ValueError, match="a smaller magnification or a larger diameter") as raised:
        segmenter.segment(wide, magnification=16)
    assert str(raised.value).startswith("array of shape (40000, 30000): would become")


@pytest.mark.parametrize("path", ["a.tif", Path("a.tif")])
def test_a_path_is_no_array(path, segmenter):
    with pytest.raises(TypeError, match=r"^array='a\.tif': an array was wanted; read the file"):
        segmenter.segment(path)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", HOSTILE)
def test_numbers_of_any_size_give_no_warning(kind, segmenter):
    image = hostile(kind)
    for arguments in ({}, {"levels": (-8e307, 8e307)}, {"percentiles": (0, 100)}):
        assert segmenter.segment(image, **arguments).labels.shape == image.shape


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"device": "gpu"}, "one of auto, cpu, cuda was wanted"),
        ({"threads": 0}, "^threads=0: a whole number from 1 on"),
        ({"threads": "2"}, "^threads='2': a whole number from 1 on"),
        ({"threads": 1.5}, "a whole number from 1 on"),
        ({"threads": True}, "a whole number from 1 on"),
        ({"device": None}, "^device=None: one of auto, cpu, cuda was wanted"),
        ({"precision": 8}, "^precision=8: one of auto, int8, float was wanted"),
        ({"weights": None}, "^weights=None: the path of a folder was wanted"),
        ({"weights": "nowhere"}, "nowhere/settings.json: can't be read"),
    ],
)
def test_a_wrong_segmenter(arguments, said):
    with pytest.raises(ValueError, match=said):
        Segmenter(**arguments)


def test_cuda_takes_the_other_package(monkeypatch):
    cpu = ["CPUExecutionProvider"]
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: cpu)
    monkeypatch.setattr("app.session._has_driver", lambda: True)
    assert [Segmenter(TOY).provider] == cpu
    with pytest.raises(DeviceError, match="the installed onnxruntime can't use CUDA; install "):
        Segmenter(TOY, "cuda")


def test_arrays_and_files_give_the_same(folder, segmenter):
    rng = np.random.default_rng(0)
    image = rng.normal(IMAGE[:, :, None] * [1, 20, 3], 9).clip(1).astype(np.uint16)
    tifffile.imwrite(folder / "in" / "a.tif", image, photometric="minisblack", planarconfig=1)
    assert run(folder / "in", folder / "out", "--limits", "2", "98") == 0
    found = segmenter.segment(image, percentiles=(2, 98))
    np.testing.assert_array_equal(found.labels, tifffile.imread(folder / "out" / "a_label.tiff"))
    (record,) = json.loads((folder / "out" / "run.json").read_text())["images"]
    assert [list(pair) for pair in found.look.limits] == record["look"]["limits"]
