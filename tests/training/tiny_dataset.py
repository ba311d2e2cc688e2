"""A data set of a few small images with bright discs, in the challenge's layout."""

import csv
from pathlib import Path

import cv2
import numpy as np
import tifffile

SIDE = 96


def make_dataset(root: Path, images: int = 4, cells: int = 5) -> Path:
    """Write ``images`` images of each split and their metadata; returns ``root``."""
    rows = []
    for folder in ("images", "labels"):
        (root / "Train_Labeled" / folder).mkdir(parents=True)
    for number in range(2 * images):
        name = f"disc{number}"
        image, label = discs(np.random.default_rng(number), cells)
        cv2.imwrite(str(root / "Train_Labeled" / "images" / f"{name}.png"), image)
        tifffile.imwrite(root / "Train_Labeled" / "labels" / f"{name}_label.tiff", label)
        split = "train" if number < images else "val"
        rows.append((name, f"{name}.png", "discs", "Fluo", split))
    with (root / "metadata.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("name", "image", "source", "modality", "split"))
        writer.writerows(rows)
    return root


def discs(rng: np.random.Generator, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 noise with bright discs, and its (H, W) uint16 label image."""
    image = rng.integers(5, 40, (SIDE, SIDE)).astype(np.uint8)
    label = np.zeros((SIDE, SIDE), np.uint16)
    while label.max() < cells:
        x, y = (int(v) for v in rng.integers(12, SIDE - 12, 2))
        radius = int(rng.integers(5, 10))
        if label[y - 12 : y + 12, x - 12 : x + 12].any():
            continue  # discs do not overlap
        cv2.circle(image, (x, y), radius, int(rng.integers(150, 255)), -1)
        cv2.circle(label, (x, y), radius, int(label.max()) + 1, -1)
    return image, label
