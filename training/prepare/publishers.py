"""The formats in which publishers hand out labelled images, read as they are.

Each reader takes the files of a download, wherever they lie in it, and yields what is in it: a
labelled image, the path of an unlabelled one, or an error that names a file which can't be used.
"""

import csv
import json
import re
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.files.open import SUFFIXES, read_image
from training.layout import UNKNOWN
from training.prepare.run_lengths import Shape, coco_pixels, run_pixels, stack

MODALITIES = ("BF", "DIC", "Fluo", "PC", UNKNOWN)

Draw = Callable[[Shape], tuple[NDArray[Any], list[str]]]


@dataclass(frozen=True)
class Sample:
    """A labelled image of a publisher.

    draw: (H, W) of the image to its label image and to notes on what was left out of it; raises
        ValueError where the label is missing, broken or of another size.
    """

    name: str
    image: Path
    draw: Draw
    group: str
    modality: str


Item = Sample | Path | ValueError


def list_files(source: Path, root: Path, scratch: Path) -> list[Path]:
    """All files of a source, sorted, without hidden ones.

    Args:
        source: a folder, a zip file or another file.
        root: a folder that isn't searched: where the results go.
        scratch: an empty folder, into which a zip file is unpacked.

    Raises:
        ValueError: the source isn't there.
    """
    if not source.exists():
        raise ValueError(f"{source}: isn't there; give a folder, a zip file or a file")
    if source.is_file() and source.suffix != ".zip":
        return [source.resolve()]
    folder = source.resolve()
    if source.is_file():
        folder = Path(tempfile.mkdtemp(dir=scratch)) / source.stem
        with zipfile.ZipFile(source) as archive:
            archive.extractall(folder)
    found = []
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        ours = source.is_dir() and path.is_relative_to(root.resolve())
        if path.is_file() and not hidden and not ours:
            found.append(path)
    return found


# LIVECell: https://github.com/sartorius-research/LIVECell, Edlund et al. 2021. COCO files beside
# a folder of images, flat or in a folder for each cell type.

_LIVECELL_NAME = re.compile(r"([A-Za-z0-9]+)_Phase_([A-Z]\d+)_\d+_\d+d\d+h\d+m_\d+\.tif")
_LIVECELL_JSON = (
    r"livecell_coco_(train|val|test)\.json",
    r"(?:livecell_[a-z0-9]+_)?(train|val|test)\.json",  # LIVECell_single_cells
)
_INCOMPLETE = {  # most cells aren't outlined: issue 21 of the publisher's repository
    "A172_Phase_D7_1_01d20h00m_1.tif",
    "BT474_Phase_B3_1_03d00h00m_3.tif",
    "A172_Phase_A7_1_01d04h00m_3.tif",
    "SHSY5Y_Phase_D10_1_01d16h00m_4.tif",
    "BV2_Phase_D4_1_00d12h00m_2.tif",
    "BV2_Phase_C4_1_01d16h00m_3.tif",
    "SkBr3_Phase_H3_2_00d00h00m_1.tif",
    "BV2_Phase_A4_2_00d00h00m_1.tif",
    "BV2_Phase_A4_2_02d04h00m_3.tif",
}


def read_livecell(files: Sequence[Path], parts: Sequence[str]) -> Iterator[Item]:
    """LIVECell; a group is a well, in which several positions, times and crops were imaged.

    Args:
        files: of the download; the single cell types' COCO files count where there are no others.
        parts: which of its COCO files to read: ``train``, ``val``, ``test``.
    """
    images = {path.name: path for path in files if path.suffix.lower() in (".tif", ".tiff")}
    for pattern in _LIVECELL_JSON:
        found = [(path, match[1]) for path in files if (match := re.fullmatch(pattern, path.name))]
        if found:
            break
    tables = [path for path, part in found if part in parts]
    if not tables:
        yield ValueError(
            f"no COCO file among {len(files)} files; wanted livecell_coco_{parts[0]}.json or "
            "LIVECell_single_cells/CELLTYPE/train.json; name it as one more source"
        )
    for path in tables:
        yield from _read_coco(path, images)


def _read_coco(path: Path, images: dict[str, Path]) -> Iterator[Item]:
    try:
        table = json.loads(path.read_bytes(), object_hook=_pack)
        outlines = table["annotations"]
        by_image = defaultdict(list)
        for outline in outlines.values() if isinstance(outlines, dict) else outlines:
            by_image[outline["image_id"]].append(outline)
        rows = [(Path(row["file_name"]).name, row["id"]) for row in table["images"]]
        sizes = {row["id"]: (row["height"], row["width"]) for row in table["images"]}
    except (ValueError, KeyError, TypeError) as error:
        yield ValueError(f"{path}: not a COCO file ({error!r}); download it again")
        return
    for name, number in rows:
        match = _LIVECELL_NAME.fullmatch(name)
        if match is None:
            yield ValueError(f"{path}: image {name}; wanted CELLTYPE_Phase_WELL_POSITION_TIME_CROP")
        elif name in _INCOMPLETE:
            print(f"{name}: left out, most of its cells have no outline (LIVECell issue 21)")
        else:
            draw = partial(_draw_coco, path, sizes[number], by_image[number])
            image = images.get(name, path.parent / name)
            yield Sample(image.stem, image, draw, f"{match[1]}_{match[2]}", "PC")


def _pack(part: dict[str, Any]) -> dict[str, Any]:
    """A polygon as an array takes a tenth of the memory that a list of numbers takes."""
    outline = part.get("segmentation")
    if isinstance(outline, list):
        part["segmentation"] = [np.asarray(points, np.float32) for points in outline]
    return part


def _draw_coco(
    path: Path, size: Shape, outlines: list[dict[str, Any]], shape: Shape
) -> tuple[NDArray[Any], list[str]]:
    _check_size(path, size, shape)
    cells = []
    for outline in outlines:
        try:
            if not outline.get("iscrowd"):
                cells.append(coco_pixels(outline["segmentation"], shape))
        except (ValueError, KeyError, TypeError) as error:
            what = f"annotation {outline.get('id')}, {error!r}"
            raise ValueError(f"{path}: {what}; download it again") from error
    label, notes = stack(cells, shape)
    if len(cells) < len(outlines):
        notes.append(f"{len(outlines) - len(cells)} crowds left out: they aren't single cells")
    return label, notes


# Sartorius: https://www.kaggle.com/c/sartorius-cell-instance-segmentation. One row of train.csv
# is one cell, of which annotation has the run lengths: first pixel, from 1 along the rows, length.


def read_sartorius(files: Sequence[Path]) -> Iterator[Item]:
    """The Kaggle competition; ``train_semi_supervised`` is unlabelled, ``test`` is left out.

    A group is a sample_id without its last number, which counts the crops of one picture.
    """
    tables = [path for path in files if path.name == "train.csv"]
    if len(tables) != 1:
        yield ValueError(f"{len(tables)} files are named train.csv; wanted one: name its folder")
        return
    cells = defaultdict(list)
    try:
        with tables[0].open(newline="") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                cells[row.get("id")].append((number, row))
    except (csv.Error, UnicodeDecodeError) as error:
        yield ValueError(f"{tables[0]}: not a CSV file ({error}); download it again")
        return
    wanted = {"id", "annotation", "width", "height", "sample_id"}
    for name, rows in cells.items():
        if name is None or not wanted <= rows[0][1].keys():
            yield ValueError(f"{tables[0]}: columns {list(rows[0][1])}; wanted {sorted(wanted)}")
            return
        image = tables[0].parent / "train" / f"{name}.png"
        group = re.sub(r"_\d+$", "", str(rows[0][1]["sample_id"]))
        yield Sample(name, image, partial(_draw_rows, tables[0], rows), group, "PC")
    for path in files:
        if path.parent.name == "train_semi_supervised" and path.suffix == ".png":
            yield path


def _draw_rows(
    path: Path, rows: list[tuple[int, dict[str, str]]], shape: Shape
) -> tuple[NDArray[Any], list[str]]:
    cells = []
    for number, row in rows:
        try:
            if None in row.values():
                raise ValueError("the row ends too early")
            _check_size(path, (int(row["height"]), int(row["width"])), shape)
            cells.append(run_pixels(row["annotation"], shape))
        except ValueError as error:
            raise ValueError(f"{path}: line {number}, {error}; download it again") from error
    return stack(cells, shape)


# The NeurIPS 2022 challenge: https://zenodo.org/records/10719375 and the challenge's own names.


def read_neurips(files: Sequence[Path], table: dict[str, dict[str, str]]) -> Iterator[Item]:
    """The challenge's training images; ``Tuning`` and ``Testing`` are left out.

    Args:
        files: of the download; what isn't an image is passed over.
        table: by name, ``modality`` and ``group`` where known; else unknown and its own.
    """
    count = 0
    for path in files:
        if path.suffix.lower() not in SUFFIXES or path.parent.name == "labels":
            continue
        folders = [re.sub("[-_ ]", "", part.lower()) for part in path.parts[-3:-1]]
        if any(re.match("(train|training)?unlabell?ed|releasepart", part) for part in folders):
            yield path
        elif re.fullmatch("train(ing)?labell?ed", folders[0]) and folders[-1] == "images":
            label = path.parents[1] / "labels" / f"{path.stem}_label.tiff"
            row = table.get(path.stem, {})
            group, modality = row.get("group") or path.stem, row.get("modality") or UNKNOWN
            yield Sample(path.stem, path, partial(_draw_file, label), group, modality)
        else:
            continue
        count += 1
    if not count:
        yield ValueError(
            f"no training image among {len(files)} files; wanted Train_Labeled or "
            "Training-labeled with images/ and labels/; for others use folders"
        )


def read_folders(
    images: Sequence[Path], labels: Sequence[Path], source: str, modality: str, pattern: str | None
) -> Iterator[Item]:
    """Any images and label images: of the same stem, or the label's ends in _label or _mask.

    Args:
        images, labels: the files of two folders.
        source: put before each name, as names like 001 are in many data sets.
        modality: of all images.
        pattern: a regular expression of which the first group (without one, the whole match) in
            the image's stem names its group; None makes each image its own.
    """
    by_stem = {path.stem: path for path in labels if path.suffix.lower() in SUFFIXES}
    for path in images:
        if path.suffix.lower() not in SUFFIXES:
            continue
        stems = [path.stem + end for end in ("", "_label", "_labels", "_mask", "_masks")]
        label = by_stem.pop(next((stem for stem in stems if stem in by_stem), ""), None)
        match = re.search(pattern or ".*", path.stem)
        if match is None:
            yield ValueError(f"{path}: its stem has no match for the group pattern {pattern}")
        elif label is None:
            yield ValueError(
                f"{path}: no label image; wanted {path.stem}, alone or with _label or _mask"
            )
        else:
            group = match[1] if match.re.groups else match[0]
            name = f"{source}-{path.stem}"
            yield Sample(name, path, partial(_draw_file, label), group, modality)
    for path in by_stem.values():
        yield ValueError(f"{path}: a label without an image; add the image or remove the label")


def _draw_file(path: Path, shape: Shape) -> tuple[NDArray[Any], list[str]]:
    label = read_image(path)
    _check_size(path, (label.shape[0], label.shape[1]), shape)
    return label, []


def _check_size(path: Path, size: Shape, shape: Shape) -> None:
    if size != shape:
        raise ValueError(
            f"{path}: label of {size[0]} x {size[1]}, but its image is {shape[0]} x {shape[1]}; "
            "find the one that belongs to it"
        )
