"""Data sets, as their publishers hand them out, to the challenge's layout.

    python -m training.prepare.adapters livecell  images.zip livecell_coco_train.json ... ROOT
    python -m training.prepare.adapters sartorius sartorius-cell-instance-segmentation.zip ROOT
    python -m training.prepare.adapters neurips   Training-labeled.zip train-unlabeled-1.zip ROOT
    python -m training.prepare.adapters folders   IMAGES LABELS ROOT \
        --source NAME --modality BF --licence L

A source is a folder, searched to its bottom, a zip file or a single file. Several data sets may
go into one ROOT; a row for each labelled image is appended to its ``metadata.csv``.

- Images are copied unchanged, labels mended (training/prepare/mend.py) and written as uint16 TIFF.
  What was mended is printed; what can't be used is named on stderr, all others are still done, and
  the exit status is 1.
- Where outlines overlap, the smaller cell lies on top, of equal ones the later. A cell more than
  half of which is covered is left out: most often it is a duplicate.
- A name that is in ``metadata.csv`` with the same image and label is skipped, else an error. So
  the same command can be run again, once a broken file is replaced.
- An image that is there already under another name is skipped, too, and said; with another label
  it is an error, for one of the two labels is not its own.
- Splits go by group: crops, positions and times of one well or sample are all in ``train`` or
  all in ``val``, and a group that ``metadata.csv`` already has stays where it is.
- LIVECell's own test set is left out unless ``--parts`` names it. Its own split isn't followed:
  it has crops of the same wells in train and val.
"""

import argparse
import csv
import filecmp
import re
import shutil
import sys
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.files.atomic import atomic_write
from app.files.open import read_image
from training.command import command_parser, user_errors
from training.layout import (
    IMAGES,
    LABELS,
    METADATA,
    UNLABELLED,
    image_path,
    label_path,
    read_metadata,
)
from training.prepare.mend import mend
from training.prepare.publishers import (
    MODALITIES,
    Item,
    Sample,
    list_files,
    read_folders,
    read_livecell,
    read_neurips,
    read_sartorius,
)
from training.prepare.splits import assign_splits

COLUMNS = ["name", "image", "source", "modality", "group", "split"]
COLUMNS += ["height", "width", "channels", "dtype", "instances", "licence"]
LICENCES = {
    "livecell": "CC BY-NC 4.0",
    "sartorius": "Kaggle rules of sartorius-cell-instance-segmentation",
    "neurips": "CC BY-NC-ND 4.0 by the challenge's terms; see Zenodo 10719375",
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        options.root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.exit(2, f"error: {options.root}: no folder ({error.strerror}); give another one\n")
    scratch_folder = tempfile.TemporaryDirectory(dir=options.root, prefix=".unpacked-")
    with user_errors(parser), scratch_folder as scratch:
        try:
            items = _read(options, Path(scratch))
            layout = Layout(options.root, options.source, options.licence)
        except (ValueError, OSError, zipfile.BadZipFile) as error:
            parser.exit(2, f"error: {error}\n")
        for item in items:
            layout.add(item)
        layout.write_metadata(options.val_share, options.seed)
    return 1 if layout.problems else 0


def _parser() -> argparse.ArgumentParser:
    parser = command_parser(__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("livecell", "sartorius", "neurips", "folders"):
        command = commands.add_parser(name)
        command.add_argument("sources", type=Path, nargs="+")
        command.add_argument("root", type=Path, help="made if missing")
        command.add_argument("--val-share", type=float, default=0.2, help="of the images")
        command.add_argument("--seed", type=int, default=1, help="of the split")
        folders = name == "folders"
        command.add_argument("--licence", required=folders, default=LICENCES.get(name))
        if folders:
            command.add_argument("--source", required=True, help="name of the data set")
            command.add_argument("--modality", required=True, choices=MODALITIES)
            command.add_argument("--group-pattern", help="regular expression, in an image's stem")
        else:
            command.set_defaults(source={"neurips": "neurips22"}.get(name, name))
        if name == "livecell":
            parts = ("train", "val", "test")
            command.add_argument("--parts", nargs="+", choices=parts, default=["train", "val"])
        if name == "neurips":
            command.add_argument("--table", type=Path, help="CSV: name, and modality or group")
    return parser


def _read(options: argparse.Namespace, scratch: Path) -> Iterator[Item]:
    """What is in the sources.

    Raises:
        ValueError: a source, or an option, is wrong.
    """
    if not 0 <= options.val_share <= 1:
        raise ValueError(f"--val-share is {options.val_share}; give a share from 0 to 1")
    lists = [list_files(path, options.root, scratch) for path in options.sources]
    files = [path for part in lists for path in part]
    if options.command == "livecell":
        return read_livecell(files, options.parts)
    if options.command == "sartorius":
        return read_sartorius(files)
    if options.command == "neurips":
        return read_neurips(files, _read_table(options.table) if options.table else {})
    if len(lists) != 2:
        raise ValueError(f"{len(lists)} sources; wanted two, a folder of images and one of labels")
    try:
        re.compile(options.group_pattern or "")
    except re.error as error:
        raise ValueError(f"--group-pattern {options.group_pattern}: {error}; mend it") from error
    images, labels = lists
    return read_folders(images, labels, options.source, options.modality, options.group_pattern)


def _read_table(path: Path) -> dict[str, dict[str, str]]:
    """The user's CSV of names, modalities and groups, by name."""
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if not row.get("name") or row.get("modality") not in (*MODALITIES, "", None):
            wanted = f"name, and modality of {', '.join(MODALITIES)} or group"
            raise ValueError(f"{path}: a row has {row}; wanted {wanted}")
    return {row["name"]: row for row in rows}


class Layout:
    """A data set in the challenge's layout to which images are added.

    Raises:
        ValueError: its ``metadata.csv`` has other columns.
    """

    def __init__(self, root: Path, source: str, licence: str) -> None:
        self.root, self.source, self.licence = root, source, licence
        self.problems = self.skipped = 0
        self.rows: dict[str, dict[str, str]] = {}
        self.added: set[str] = set()
        for folder in (IMAGES, LABELS, UNLABELLED):
            (root / folder).mkdir(parents=True, exist_ok=True)
        path = root / METADATA
        if path.exists():
            rows = read_metadata(path, COLUMNS)
            if rows and list(rows[0]) != COLUMNS:
                raise ValueError(f"{path}: columns {list(rows[0])}; wanted {COLUMNS}")
            self.rows = {row["name"]: row for row in rows}
        self.by_size: dict[int, list[str]] = {}
        for row in self.rows.values():
            if (image := image_path(root, row)).exists():
                self.by_size.setdefault(image.stat().st_size, []).append(row["name"])

    def add(self, item: Item) -> None:
        """Copy an image, write its label; what can't be done is said and counted."""
        try:
            if isinstance(item, ValueError):
                raise item
            if isinstance(item, Sample):
                self._add_labelled(item)
            else:
                self._add_unlabelled(item)
        except (ValueError, OSError) as error:
            self.problems += 1
            print(error, file=sys.stderr)

    def _add_labelled(self, sample: Sample) -> None:
        image = read_image(sample.image)
        height, width = image.shape[:2]
        drawn, notes = sample.draw((height, width))
        try:
            label, mended = mend(drawn)
        except ValueError as error:
            raise ValueError(f"{sample.image}: its label {error}") from error
        name = sample.name.replace(".", "_")  # a name ends at its first dot
        stored = self.root / IMAGES / (name + sample.image.suffix)
        target = label_path(self.root / LABELS, name)
        if name in self.rows:
            if not self._is_same(self.rows[name], sample, label):
                raise ValueError(
                    f"{sample.image}: {name} is in {self.root / METADATA} with another "
                    "image, label or group; rename this one, or remove that row"
                )
            self.skipped += 1
            return
        if twin := self._twin(sample.image):
            if not np.array_equal(tifffile.imread(label_path(self.root / LABELS, twin)), label):
                raise ValueError(
                    f"{sample.image}: is the same file as that of {twin}, but has another label; "
                    "find out whose label it is, and leave the other one out"
                )
            print(f"{name}: left out, the same file as that of {twin}")
            self.skipped += 1
            return
        _copy(sample.image, stored)
        self.by_size.setdefault(stored.stat().st_size, []).append(name)
        with atomic_write(target) as part:
            tifffile.imwrite(part, label, compression="zlib")
        values = (name, stored.name, self.source, sample.modality, sample.group, "")
        channels = 1 if image.ndim == 2 else image.shape[2]
        numbers = (height, width, channels, image.dtype, label.max(), self.licence)
        self.rows[name] = dict(zip(COLUMNS, map(str, values + numbers), strict=True))
        self.added.add(name)
        if notes or mended:
            print(f"{name}: {'; '.join(notes + mended)}")

    def _twin(self, image: Path) -> str | None:
        """The name of an image here that is the same file."""
        for name in self.by_size.get(image.stat().st_size, []):
            if filecmp.cmp(image, image_path(self.root, self.rows[name]), shallow=False):
                return name
        return None

    def _is_same(self, row: dict[str, str], sample: Sample, label: NDArray[np.uint16]) -> bool:
        """Whether a row of the metadata, and its files, are what a sample would become."""
        image = image_path(self.root, row)
        target = label_path(self.root / LABELS, row["name"])
        return (
            (row["source"], row["group"]) == (self.source, sample.group)
            and image.exists()
            and filecmp.cmp(sample.image, image, shallow=False)
            and target.exists()
            and np.array_equal(tifffile.imread(target), label)
        )

    def _add_unlabelled(self, image: Path) -> None:
        read_image(image)  # a broken one would stop the training
        target = self.root / UNLABELLED / image.name
        if not target.exists():
            _copy(image, target)
        elif not filecmp.cmp(image, target, shallow=False):
            raise ValueError(f"{image}: {target} is there with other content; rename one of them")

    def write_metadata(self, val_share: float, seed: int) -> None:
        """Give the added images a split, and write the table anew."""
        mine = [row for row in self.rows.values() if row["source"] == self.source]
        earlier = {row["group"]: row["split"] for row in mine if row["split"]}
        sizes = Counter(row["group"] for row in mine)
        splits = assign_splits(sizes, earlier, val_share, f"{seed}/{self.source}")
        for name in self.added:
            self.rows[name]["split"] = splits[self.rows[name]["group"]]
        path = self.root / METADATA
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(self.rows.values())
        sides = Counter(self.rows[name]["split"] for name in self.added)
        print(
            f"{self.source}: {sides['train']} images added to train, {sides['val']} to val; "
            f"{self.skipped} were there; {self.problems} problems"
        )


def _copy(source: Path, target: Path) -> None:
    """Copy a file so that the target is whole or not there."""
    with atomic_write(target) as part:
        shutil.copyfile(source, part)


if __name__ == "__main__":
    sys.exit(main())
