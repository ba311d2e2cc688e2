"""The command line in this process, by the toy weights; and files and folders for it."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from app.running import run as runs
from app.running.options import parse

TOY = Path("tests/app/toy_weights")
# Bright where the toy detector's two good boxes are, so that the toy segmenter fills them.
IMAGE = np.full((48, 56), 20, np.uint8)
IMAGE[2:18, 2:22] = IMAGE[6:32, 22:42] = 220
LABEL = np.zeros((48, 56), np.uint16)
LABEL[4:16, 4:20] = 1
LABEL[8:30, 24:40] = 2
NAMES = ("a.png", "b.png", "c.png")  # of the images of the fixture ``three``


def write(path: Path, image=IMAGE) -> None:
    if "tif" in path.suffix.lower():
        tifffile.imwrite(path, image)
    else:
        assert cv2.imwrite(str(path), image)


def picture(level: int) -> np.ndarray:
    """(48, 56) uint8 of something that stands out of the background."""
    image = np.full((48, 56), 20, np.uint8)
    image[8:24, 8:24] = level
    return image


def arguments(*given) -> list[str]:
    """Of the command line: those given, the toy weights and the CPU."""
    options = [str(a) for a in (*given, "--device", "cpu")]
    return options if "--weights" in options else [*options, "--weights", str(TOY)]


def run(*given) -> int:
    """The command line in this process; that the real one forks is shown in test_survival.py."""
    return runs.run(parse(arguments(*given)))


def run_in(folder: Path, *more) -> int:
    """The same from the folder's ``in`` to its ``out``."""
    return run(folder / "in", folder / "out", *more)


def outputs(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def labels(folder: Path) -> dict[str, bytes]:
    """The label images in the folder's ``out``."""
    return {p.name: p.read_bytes() for p in (folder / "out").glob("*_label.tiff")}


def report(folder: Path) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """run.json as a whole, and its images by name."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    whole = json.loads((folder / "out" / "run.json").read_text(), parse_constant=refuse)
    return whole, {record["image"]: record for record in whole["images"]}


def report_of_one(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """run.json as a whole, and its only image."""
    whole, images = report(folder)
    (image,) = images.values()
    return whole, image


def label(folder: Path, name: str = "a") -> np.ndarray:
    """The label image in the folder's ``out`` of the image of a name."""
    return tifffile.imread(folder / "out" / f"{name}_label.tiff")
