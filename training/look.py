"""Images as prediction shows them to the networks."""

from app.files.arrays import Pixels
from app.levels import survey
from app.look import Look
from app.normalise import Normalised
from app.predict import Predictor
from app.trial import choose_look


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
