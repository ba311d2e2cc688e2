"""The layout of a data set, the challenge's own: where images and labels lie, and their metadata.

DATA/metadata.csv                           a row for each labelled image
DATA/Train_Labeled/images/NAME.EXT
DATA/Train_Labeled/labels/NAME_label.tiff
DATA/Train_Unlabeled/images/NAME.EXT
"""

import csv
from collections.abc import Sequence
from pathlib import Path

from training.errors import InputError

METADATA = "metadata.csv"
IMAGES, LABELS = Path("Train_Labeled", "images"), Path("Train_Labeled", "labels")
UNLABELLED = Path("Train_Unlabeled", "images")
LABEL_SUFFIX = "_label.tiff"
COLUMNS = ("name", "image", "source", "modality", "split")
# Source of windows that are kept as they were shown to the model that labelled them.
PSEUDO_SOURCE = "pseudo"
UNKNOWN = "unknown"  # the modality of an image of which it isn't told


def image_path(root: Path, row: dict[str, str]) -> Path:
    """The image of a row of the metadata."""
    return root / IMAGES / row["image"]


def label_path(folder: Path, name: str) -> Path:
    """The label image of an image in a folder of labels, true or predicted."""
    return folder / f"{name}{LABEL_SUFFIX}"


def read_metadata(path: Path, columns: Sequence[str] = COLUMNS) -> list[dict[str, str]]:
    """The rows of a metadata file.

    Args:
        columns: that it must have; others may stand beside them.

    Raises:
        OSError: there is no such file.
        InputError: it is no CSV file, or lacks a column or a value.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            found = table.fieldnames or ()  # read now, for an empty file has no row to begin with
            rows = list(table)
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error}); save it as one") from error
    if missing := set(columns) - set(found):
        raise InputError(
            f"{path}: lacks {', '.join(sorted(missing))}; "
            f"wanted a CSV file with columns {', '.join(columns)}"
        )
    for number, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise InputError(
                f"{path}: row {number} has more or fewer values than there are columns; mend it"
            )
    return rows


def read_split(
    root: Path, split: str, *others: str, columns: Sequence[str] = COLUMNS
) -> list[dict[str, str]]:
    """The rows of a data set's metadata of one split, then those of others where there are any.

    Args:
        root: the data set.
        split: ``train``, ``val`` or ``probe``.
        columns: as for ``read_metadata``.

    Raises:
        OSError: there is no metadata.
        InputError: it can't be used, or has no image of the first split.
    """
    path = root / METADATA
    rows = read_metadata(path, columns)
    if not any(row["split"] == split for row in rows):
        known = ", ".join(sorted({row["split"] for row in rows})) or "no row"
        raise InputError(f"{path}: no image of split {split}; it has {known}")
    return [row for wanted in (split, *others) for row in rows if row["split"] == wanted]
