"""Kinds of images that once went wrong, with the shipped weights: made or altered samples."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from app.files.open import read_image
from app.predict import Prediction, Predictor, predict
from tests.app.made_cells import nuclei
from training.evaluate import score_image

WEIGHTS = Path("weights")
IMAGES = Path("samples/images")
NUCLEI = IMAGES / "dsb2018-ac8169a0debe.png"  # fluorescence, grey
TISSUE = IMAGES / "dsb2018-a5fe0b7412dd.png"  # stained, RGB


@pytest.fixture(scope="module")
def find():
    """The way from an image to its cells."""
    predictor = Predictor(WEIGHTS, "cpu", threads=1)

    def found(image: np.ndarray) -> Prediction:
        models = predictor.detector, predictor.segmenter, predictor.method
        return predict(np.atleast_3d(image), *models)

    return found


@pytest.fixture(scope="module")
def plain(find) -> np.ndarray:
    """The labels of the nuclei as they are in the samples."""
    label = find(read_image(NUCLEI)).labels[:, :]
    assert label.max() >= 20
    return label


def f1(truth: np.ndarray, label: np.ndarray) -> float:
    return score_image(truth, label)[0].f1


def grey_nuclei() -> np.ndarray:
    """(H, W) uint8."""
    image = read_image(NUCLEI)
    return image if image.ndim == 2 else np.ascontiguousarray(image[:, :, 0])


def noise(seed: int, shape: tuple[int, ...], mean: float, deviation: float, sigma: float = 0):
    """Of 16 bits, as a camera makes it, or smooth."""
    found = np.random.default_rng(seed).normal(0, 1, shape)
    if sigma:
        found = np.asarray(cv2.GaussianBlur(found, (0, 0), sigma))
    return np.rint(mean + deviation * found / found.std()).clip(0, 65535).astype(np.uint16)


# ------------------------------------------------------------------------------------- channels


@pytest.mark.parametrize("opaque", [255, 254])
def test_an_undeclared_opaque_sample_changes_nothing(opaque, find, tmp_path):
    colours = read_image(TISSUE)
    samples = np.dstack([colours, np.full(colours.shape[:2], opaque, np.uint8)])
    path = tmp_path / "tissue.tif"
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=["unspecified"])
    image = read_image(path)
    assert image.shape[2] == 4
    wanted = find(colours).labels
    assert wanted.count >= 10
    np.testing.assert_array_equal(find(image).labels[:, :], wanted[:, :])


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "others",
    [
        ["noise"],
        ["noise", "noise"],
        ["noise", "noise", "noise"],
        ["constant"],
        ["constant", "noise", "constant"],
        ["brightfield"],
        ["noise", "constant", "brightfield"],
    ],
    ids="-".join,
)
def test_channels_that_hold_nothing_change_nothing(first, others, find, plain):
    grey = grey_nuclei().astype(np.uint16) * 40
    made = {
        "noise": lambda seed: noise(seed, grey.shape, 300, 25),
        "constant": lambda seed: np.full_like(grey, 4000),
        "brightfield": lambda seed: noise(seed, grey.shape, 20000, 200, sigma=2),
    }
    channels = [made[kind](seed) for seed, kind in enumerate(others)]
    image = np.dstack([grey, *channels] if first else [*channels, grey])
    found = find(image)
    assert f1(plain, found.labels[:, :]) >= 0.95
    full = 0 if first else len(others)
    look = found.choice.look
    assert [c for c, pair in zip(look.channels, look.limits, strict=True) if pair] == [full]


# ----------------------------------------------------------------------------- few and no cells


@pytest.mark.parametrize(
    ("side", "field", "count"), [(512, 512, 40), (800, 1086, 3), (800, 2172, 3)]
)
def test_sparse_nuclei(side, field, count, find):
    """In the middle of fields of several sizes."""
    rng = np.random.default_rng(2)
    light, label = nuclei(rng, (side, side), count, 13, (400, 800))
    rim = (field - side) // 2
    truth = np.pad(label, rim)
    image = np.pad(light, rim) + rng.normal(116, 12, truth.shape)
    found = find(image.clip(0, 65535).astype(np.uint16))
    assert f1(truth, found.labels[:, :]) >= 0.95


@pytest.mark.parametrize("sigma", [0.7, 1.5, 3.0])
@pytest.mark.parametrize("deviation", [1.5, 5.0])
def test_smooth_noise_has_no_cell(sigma, deviation, find):
    image = noise(1, (512, 512), 100, deviation, sigma)
    assert len(np.unique(image)) < 60
    assert find(image).labels.count == 0
    assert find(image.astype(np.uint8)).labels.count == 0


@pytest.mark.parametrize("shape", [(220, 220), (600, 900)])
def test_an_empty_slide_has_no_cell(shape, find):
    slide = np.dstack([noise(seed, shape, 235, 2) for seed in range(3)]).astype(np.uint8)
    assert find(slide).labels.count == 0
    assert find(np.full((*shape, 3), 235, np.uint8)).labels.count == 0


# ----------------------------------------------------------------------- debris and fill values


def patch_beside_cells(label: np.ndarray, share: float) -> tuple[slice, slice]:
    """Where a square of a share of the image covers least of any cell."""
    side = round((share * label.size) ** 0.5)
    sums = np.pad((label > 0).astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    held = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(held.argmin(), held.shape)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)


@pytest.mark.parametrize("share", [0.0095, 0.014])
@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        ("uint8", 255),
        ("uint16", 65535),
        ("uint16", 0),
        ("float32", -9999.0),
        ("float32", -1e10),
        ("float32", 3.4e38),
        ("float32", np.nan),
    ],
)
def test_debris_and_fill_values_change_nothing(dtype, value, share, find, plain):
    image = grey_nuclei().astype(dtype)
    if dtype == "uint16":
        image += 1000
    image[patch_beside_cells(plain, share)] = value
    assert f1(plain, find(image).labels[:, :]) >= 0.95
