"""Kinds of images that once went wrong, with the shipped weights: made or altered samples.

Each check is run on a few by test_cases.py, and on many by tests/system/test_cases.py.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import tifffile

from app.files.open import read_image
from app.outcome import Prediction
from app.predict import Predictor, predict
from app.settings import WEIGHTS
from tests.app.made_cells import nuclei
from training.metric import score_image

IMAGES = Path("samples/images")
NUCLEI = IMAGES / "dsb2018-ac8169a0debe.png"  # fluorescence, grey
TISSUE = IMAGES / "dsb2018-a5fe0b7412dd.png"  # stained, RGB


@cache
def shipped() -> Predictor:
    return Predictor(WEIGHTS, "cpu", threads=1)


def find(image: np.ndarray) -> Prediction:
    """The way from an image to its cells."""
    models = shipped().detector, shipped().segmenter, shipped().method
    return predict(np.atleast_3d(image), *models)


@cache
def plain() -> np.ndarray:
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


def check_an_opaque_sample(opaque: int, folder: Path) -> None:
    colours = read_image(TISSUE)
    samples = np.dstack([colours, np.full(colours.shape[:2], opaque, np.uint8)])
    path = folder / "tissue.tif"
    tifffile.imwrite(path, samples, photometric="rgb", extrasamples=["unspecified"])
    image = read_image(path)
    assert image.shape[2] == 4
    wanted = find(colours).labels
    assert wanted.count >= 10
    np.testing.assert_array_equal(find(image).labels[:, :], wanted[:, :])


def check_empty_channels(first: bool, others: list[str]) -> None:
    grey = grey_nuclei().astype(np.uint16) * 40
    made = {
        "noise": lambda seed: noise(seed, grey.shape, 300, 25),
        "constant": lambda seed: np.full_like(grey, 4000),
        "brightfield": lambda seed: noise(seed, grey.shape, 20000, 200, sigma=2),
    }
    channels = [made[kind](seed) for seed, kind in enumerate(others)]
    image = np.dstack([grey, *channels] if first else [*channels, grey])
    found = find(image)
    assert f1(plain(), found.labels[:, :]) >= 0.95
    full = 0 if first else len(others)
    look = found.choice.look
    assert [c for c, pair in zip(look.channels, look.limits, strict=True) if pair] == [full]


def check_sparse_nuclei(side: int, field: int, count: int) -> None:
    """In the middle of fields of several sizes."""
    rng = np.random.default_rng(2)
    light, label = nuclei(rng, (side, side), count, 13, (400, 800))
    rim = (field - side) // 2
    truth = np.pad(label, rim)
    image = np.pad(light, rim) + rng.normal(116, 12, truth.shape)
    found = find(image.clip(0, 65535).astype(np.uint16))
    assert f1(truth, found.labels[:, :]) >= 0.95


def check_smooth_noise(sigma: float, deviation: float) -> None:
    image = noise(1, (512, 512), 100, deviation, sigma)
    assert len(np.unique(image)) < 60
    assert find(image).labels.count == 0
    assert find(image.astype(np.uint8)).labels.count == 0


def check_an_empty_slide(shape: tuple[int, int]) -> None:
    slide = np.dstack([noise(seed, shape, 235, 2) for seed in range(3)]).astype(np.uint8)
    assert find(slide).labels.count == 0
    assert find(np.full((*shape, 3), 235, np.uint8)).labels.count == 0


def patch_beside_cells(label: np.ndarray, share: float) -> tuple[slice, slice]:
    """Where a square of a share of the image covers least of any cell."""
    side = round((share * label.size) ** 0.5)
    sums = np.pad((label > 0).astype(int).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    held = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    y, x = np.unravel_index(held.argmin(), held.shape)
    return slice(int(y), int(y) + side), slice(int(x), int(x) + side)


def check_a_fill_value(dtype: str, value: float, share: float) -> None:
    image = grey_nuclei().astype(dtype)
    if dtype == "uint16":
        image += 1000
    image[patch_beside_cells(plain(), share)] = value
    assert f1(plain(), find(image).labels[:, :]) >= 0.95
