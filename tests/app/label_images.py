"""Made label images whose cells have holes, parts and neighbours at all sides."""

import numpy as np


def ragged(seed: int, shape: tuple[int, int] = (40, 50), count: int = 12) -> np.ndarray:
    """(H, W) uint16: background and ids 1 to ``count``, each with one pixel at least.

    Cells are patches of the image with random pixels left out.
    """
    rng = np.random.default_rng(seed)
    middles = rng.uniform((0, 0), shape, (count, 2))
    places = np.moveaxis(np.indices(shape), 0, -1)
    distances = np.linalg.norm(places[:, :, None] - middles, axis=-1)
    labels = distances.argmin(-1) + 1
    labels[(rng.random(shape) < 0.25) | (distances.min(-1) > 9)] = 0
    for label in range(1, count + 1):
        if not (labels == label).any():
            labels[label % shape[0], label % shape[1]] = label
    return np.unique(labels, return_inverse=True)[1].reshape(shape).astype(np.uint16)
