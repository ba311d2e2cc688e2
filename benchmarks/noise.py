"""Which channels are found to hold nothing, of real images and of made-up noise.

First the channels of all labelled images of a data set that are found to hold nothing: there should
be none but those that are truly empty. Then how often noise of several kinds is found to hold
nothing: always, at best.
"""

import csv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from app.files.open import read_image
from app.levels import survey
from training.report.markdown import head, line

SIDES = (256, 384, 512, 1024)  # pixels
DRAWS = 10  # of each kind and size
_BACKGROUND, _DEVIATION = 1000.0, 30.0  # grey levels of 16 bits

Generator = np.random.Generator
Picture = NDArray[Any]
Draw = Callable[[Generator, int], Picture]  # the side of a square in pixels


def report(data: Path) -> None:
    """Print what was found."""
    print_real(data)
    kinds = made_up()
    print("\n" + head([f"nothing, of {DRAWS}", *(f"{side} x {side}" for side in SIDES)]))
    for name, draw in kinds.items():
        print(line([name, *(count_empty(draw, side) for side in SIDES)]), flush=True)


def print_real(data: Path) -> None:
    """The channels of the images of all splits that hold nothing, and how many hold something."""
    with (data / "metadata.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    channels = 0
    found = []
    for row in tqdm(rows, unit="image", disable=None):
        image = np.atleast_3d(read_image(data / "Train_Labeled" / "images" / row["image"]))
        seen = survey(image)
        channels += len(seen.channels)
        for number, levels in enumerate(seen.channels):
            if levels.empty:
                why = "noise" if len(levels.values) > 1 else "constant"
                found.append((row["name"], row["source"], row["split"], str(number), why))
    print(head(["image", "source", "split", "channel", "holds"]))
    for cells in found:
        print(line(cells))
    print(f"\n{len(found)} of {channels} channels of {len(rows)} images hold nothing.")


def count_empty(draw: Draw, side: int) -> int:
    """How many of some pictures are found to be nothing."""
    pictures = (draw(np.random.default_rng(seed), side) for seed in range(DRAWS))
    return sum(survey(picture[:, :, None]).channels[0].empty for picture in pictures)


def made_up() -> dict[str, Draw]:
    """Kinds of noise."""
    return {
        "white": recorded,
        **{
            f"smoothed, sigma {sigma}": partial(recorded, sigma=sigma)
            for sigma in (0.7, 1.0, 1.5, 2.0, 3.0, 5.0)
        },
        **{f"Poisson, mean {mean}": partial(photons, mean=mean) for mean in (1, 10, 100)},
        "few grey levels": partial(coarse, deviation=1.0),
        "few grey levels, smoothed, sigma 2": partial(coarse, deviation=1.0, sigma=2.0),
        "with a gradient": partial(recorded, slope=5.0),
        "with hot pixels": partial(recorded, hot=1e-4),
        "after JPEG": partial(coarse, deviation=6.0, quality=75),
        "smoothed, sigma 1, after JPEG": partial(coarse, deviation=6.0, sigma=1.0, quality=75),
    }


def recorded(
    rng: Generator, side: int, sigma: float = 0.0, slope: float = 0.0, hot: float = 0.0
) -> Picture:
    """A camera's 16 bits.

    Args:
        sigma: of a Gaussian filter, pixels.
        slope: from the left to the right, in deviations.
        hot: share of the pixels that are defective.
    """
    noise = normal(rng, side, sigma) + np.linspace(0, slope, side)
    picture = np.rint(_BACKGROUND + _DEVIATION * noise).astype(np.uint16)
    picture[rng.random(picture.shape) < hot] = 60_000
    return picture


def photons(rng: Generator, side: int, mean: float) -> Picture:
    return rng.poisson(mean, (side, side)).astype(np.uint16)


def coarse(
    rng: Generator, side: int, deviation: float, sigma: float = 0.0, quality: int | None = None
) -> Picture:
    """8 bits, with a deviation in grey levels, after JPEG of some quality."""
    noise = 60 + deviation * normal(rng, side, sigma)
    picture = np.clip(np.rint(noise), 0, 255).astype(np.uint8)
    if quality is None:
        return picture
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE))


def normal(rng: Generator, side: int, sigma: float) -> NDArray[np.float64]:
    """Normal noise of deviation 1 after a Gaussian filter."""
    noise = rng.standard_normal((side, side))
    if sigma:
        noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), sigma), np.float64)
    return np.asarray(noise / noise.std())
