"""How images are shown to the networks: in the usual way, or as prediction chooses to."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.detect import detect
from app.files.arrays import Pixels
from app.levels import survey
from app.look import Look
from app.normalise import Normalised, percentile_limits
from app.predict import Predictor
from app.settings import Method
from app.trial import choose_look


def show_usual(image: NDArray[Any] | Pixels, method: Method) -> Normalised:
    """An image with all its channels between the usual percentiles.

    Args:
        image: (H, W) or (H, W, C), any dtype.
        method: the percentiles.

    Returns:
        (H, W, 3) uint8, normalised, to be read in parts.
    """
    if isinstance(image, np.ndarray):
        image = np.atleast_3d(image.astype(np.uint8) if image.dtype == np.bool_ else image)
    limits = percentile_limits(image, method.low_percentile, method.high_percentile)
    return Normalised(image, limits)


def show_as_kept(image: NDArray[Any]) -> Normalised:
    """An image that was kept as it was shown, (H, W) or (H, W, C) uint8: the same once more."""
    whole = np.atleast_3d(image)
    return Normalised(whole, [(0.0, 255.0)] * whole.shape[2])


def show(image: Pixels, predictor: Predictor) -> tuple[Normalised, Look]:
    """An image in the look that prediction chooses, and that look.

    Args:
        image: (H, W, C), any integer or float dtype.

    Returns:
        (H, W, 3) uint8, normalised, to be read in parts; none can be read where the look has no
        channels, that is where nothing stands out of the noise.
    """
    look = choose_look(
        image, survey(image), predictor.detector, predictor.method, predictor.wanted
    ).look
    return Normalised(image, look.limits, look.channels), look


def find(
    image: Pixels, predictor: Predictor, method: Method
) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """What the detector finds in an image, in the look that prediction chooses.

    Args:
        image: (H, W, C), any integer or float dtype.
        method: takes the predictor's place once the look is chosen.

    Returns:
        The image as it was shown, (H, W, 3) uint8, black where nothing stands out of the noise;
        boxes (N, 4) float32 xyxy, pixels of the image, best first; their scores (N,).
    """
    shown, look = show(image, predictor)
    if not look.channels:
        nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.float32)
        return np.zeros(shown.shape, np.uint8), *nothing
    pixels = shown[:, :]
    return pixels, *detect(pixels, predictor.detector, method, None, look.magnification)
