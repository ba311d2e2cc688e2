"""Downloads in miniature: the formats of the publishers, with labels that are known."""

import csv
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile

from training.prepare.adapters import main

SHAPE = (40, 60)
LEFT, RIGHT = np.zeros(SHAPE, np.uint16), np.zeros(SHAPE, np.uint16)
LEFT[6:16, 4:14] = 1
RIGHT[20:30, 40:52] = 1
LEFT_POLYGON = [4.0, 6.0, 14.0, 6.0, 14.0, 16.0, 4.0, 16.0]
RIGHT_POLYGON = [40.0, 20.0, 52.0, 20.0, 52.0, 30.0, 40.0, 30.0]
LIKE = ("--source", "mine", "--modality", "BF", "--licence", "CC0, ours")  # for folders


def picture(path: Path, seed: int = 0, shape: tuple[int, ...] = SHAPE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).integers(1, 255, shape).astype(np.uint8)
    assert cv2.imwrite(str(path), image)
    return path


def livecell(folder: Path, wells: dict[str, list], flat=False, as_dict=False, part="train") -> Path:
    """The publisher's layout; ``wells`` has the segmentations of an image of each well."""
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (well, outlines) in enumerate(wells.items(), start=1):
        cell_type = well.split("_")[0]
        name = f"{well.replace('_', '_Phase_')}_1_00d00h00m_{number}.tif"
        kind = "livecell_test_images" if part == "test" else "livecell_train_val_images"
        seed = number + 100 * (part == "test")
        picture(folder / "images" / kind / ("." if flat else cell_type) / name, seed)
        size = {"height": SHAPE[0], "width": SHAPE[1]}
        url = f"https://darwin.v7labs.com/api/images/{number}/original"
        images.append(
            {"id": number, **size, "file_name": name, "original_filename": name, "url": url}
        )
        for outline in outlines:
            cell = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0}
            annotations.append({**cell, "segmentation": outline, "area": 1.0, "bbox": [0, 0, 1, 1]})
    table: dict[str, Any] = {
        "images": images,
        "info": {},
        "licenses": [],
        "categories": [{"id": 1, "name": "cell"}],
    }
    by_id = {str(cell["id"]): cell for cell in annotations}
    table["annotations"] = by_id if as_dict else annotations
    name = f"annotations/LIVECell/livecell_coco_{part}.json"
    if as_dict:
        name = f"annotations/LIVECell_single_cells/a172/{part}.json"
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(table))
    return folder


SARTORIUS_COLUMNS = (
    "id,annotation,width,height,cell_type,plate_time,sample_date,sample_id,elapsed_timedelta"
)


def sartorius(folder: Path) -> Path:
    """Two crops of one picture, another picture, an unlabelled one."""
    ends = "60,40,shsy5y,11h30m00s,2019-06-16,shsy5y[diff]_{}_Vessel-361_Ph_{},0 days 11:30:00"
    # Rows 6 to 15, columns 4 to 13, and rows 20 to 29, columns 40 to 51; from 1, along the rows.
    left = " ".join(f"{60 * y + 4 + 1} 10" for y in range(6, 16))
    right = " ".join(f"{60 * y + 40 + 1} 12" for y in range(20, 30))
    lines = [SARTORIUS_COLUMNS]
    for number, well in enumerate(("E10-4", "E10-4", "B1-2")):
        name = f"0030fd0e637{number}"
        picture(folder / "train" / f"{name}.png", number)
        for cell in (left, right)[: 1 + number]:
            lines.append(f"{name},{cell},{ends.format(well, number)}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    picture(folder / "train_semi_supervised" / "00d7ed3a7b2b.png", 8)
    picture(folder / "test" / "7ae19de7bc2a.png", 9)
    return folder


def neurips(folder: Path, labelled: str, unlabelled: str) -> Path:
    for number, suffix in enumerate((".bmp", ".png", ".tif", ".tiff", ".jpg"), start=1):
        shape = (*SHAPE, 3) if number % 2 else SHAPE
        picture(folder / labelled / "images" / f"cell_0000{number}{suffix}", 20 + number, shape)
        target = folder / labelled / "labels" / f"cell_0000{number}_label.tiff"
        target.parent.mkdir(exist_ok=True)
        tifffile.imwrite(target, LEFT + 5 * RIGHT, compression="zlib")
    picture(folder / unlabelled / "unlabeled_cell_00000.png")
    picture(folder / "Tuning" / "images" / "cell_00001.tiff")
    return folder


def folders(source: Path, names: list[str], ending: str = "") -> tuple[Path, Path]:
    for number, name in enumerate(names):
        picture(source / "images" / f"{name}.png", number)
        path = source / "labels" / f"{name}{ending}.png"
        path.parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(path), LEFT * 300 + RIGHT)
    return source / "images", source / "labels"


LIKE = ("--source", "mine", "--modality", "BF", "--licence", "CC0, ours")


def rows(root: Path) -> dict[str, dict[str, str]]:
    with (root / "metadata.csv").open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def label(root: Path, name: str) -> np.ndarray:
    with tifffile.TiffFile(root / "Train_Labeled" / "labels" / f"{name}_label.tiff") as file:
        assert file.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
        assert file.pages[0].dtype == np.uint16
        return file.asarray()


def convert(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])
