"""Made images of nuclei, with the labels that are right for them."""

import numpy as np


def nuclei(
    rng: np.random.Generator,
    shape: tuple[int, int],
    count: int,
    radius: float = 9.0,
    light: tuple[float, float] = (60.0, 200.0),
) -> tuple[np.ndarray, np.ndarray]:
    """Ellipses with soft edges that don't touch, dimmer towards their rims.

    Args:
        radius: the mean of both half axes; they differ by up to a third.
        light: of the middle of a nucleus, drawn between these.

    Returns:
        (H, W) float64, 0 where nothing is; (H, W) uint16 labels. There may be fewer than ``count``
        where these find no room.
    """
    image, label = np.zeros(shape), np.zeros(shape, np.uint16)
    reach = int(1.5 * radius) + 4
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    for _ in range(50 * count):
        if label.max() == count:
            break
        row, column = (int(rng.integers(reach, side - reach)) for side in shape)
        place = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        if label[place].any():
            continue
        turn, longer = rng.uniform(0, np.pi), rng.uniform(1, 1.15)
        along = (x * np.cos(turn) + y * np.sin(turn)) / (radius * longer)
        across = (y * np.cos(turn) - x * np.sin(turn)) / (radius / longer)
        distance = np.hypot(along, across)
        edge = 1 / (1 + np.exp((distance - 1) * radius / 0.8))
        image[place] += rng.uniform(*light) * edge * (1 - 0.3 * distance.clip(0, 1) ** 2)
        label[place][distance <= 1] = label.max() + 1
    return image, label
