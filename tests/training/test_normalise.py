"""Training sees of an image exactly what prediction sees."""

import csv

import cv2
import numpy as np
import pytest
import tifffile

from app.files.open import read_image
from app.predict import predict
from tests.app.make_toy_graphs import METHOD
from training.data import load_labelled


@pytest.mark.parametrize("kind", ["uint8 grey", "uint8 RGB", "uint16 grey", "float grey"])
def test_training_and_prediction_see_the_same(kind, tmp_path):
    rng = np.random.default_rng(1)
    pixels = rng.gamma(2.0, 40.0, (32, 64, 3)).clip(0, 255)
    if kind == "float grey":
        name, image = "cell.tif", (pixels[:, :, 0] / 255).astype(np.float32)
    else:
        name, image = "cell.png", pixels.astype(np.uint8)
        if "uint16" in kind:
            image = image.astype(np.uint16) * 97
        image = image if "RGB" in kind else image[:, :, 0]
    folder = tmp_path / "Train_Labeled"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    path = folder / "images" / name
    if name.endswith("png"):
        cv2.imwrite(str(path), image[:, :, ::-1] if image.ndim == 3 else image)
    else:
        tifffile.imwrite(path, image)
    label = np.zeros((32, 64), np.uint16)
    label[3:9, 4:12] = 1
    tifffile.imwrite(folder / "labels" / "cell_label.tiff", label)
    with (tmp_path / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "image", "source", "modality", "split"))
        writer.writerow(("cell", name, "s", "Fluo", "train"))

    seen = []

    def detector(batch):
        seen.append(batch[0].copy())
        return [np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.float32)]

    predict(np.atleast_3d(read_image(path)), detector, lambda crops: [], METHOD)
    (trained,) = load_labelled(tmp_path, "train", METHOD)
    np.testing.assert_array_equal(seen[0], trained.image)
    np.testing.assert_array_equal(read_image(path), image)
    assert trained.image.std() > 30
