"""Outline every cell in a folder of microscopy images.

    python -m app INPUT OUTPUT

INPUT is a folder or one file. For each image NAME.EXT, OUTPUT/NAME_label.tiff is a label image of
the same height and width: 0 is background, 1 to N are the cells. Exit status: 0 every image done;
1 some image failed, each named on stderr, all the others written; 2 wrong usage, nothing written;
130 interrupted, what was done is kept.
"""

import argparse
import os
import sys
from collections import defaultdict
from pathlib import Path

from tqdm import tqdm

from app.predict import Predictor
from app.read import SUFFIXES, ImageError, find_images
from app.session import DeviceError, available_threads
from app.settings import SettingsError
from app.write import output_path

WEIGHTS = Path(__file__).parent.parent / "weights"


class UsageError(ValueError):
    """The command can't be carried out as it was given."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        images = list_images(options.input)
        targets = plan_outputs(images, options.output)
        predictor = Predictor(options.weights, options.device, options.threads)
    except (UsageError, SettingsError, DeviceError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    where = f"{predictor.provider}, {options.threads} CPU threads"
    print(f"segmenting {len(images)} images on {where}", file=sys.stderr)
    try:
        return segment_all(predictor, targets)
    except KeyboardInterrupt:
        print("interrupted; the label images written so far are whole", file=sys.stderr)
        return 130


def list_images(source: Path) -> list[Path]:
    """The images of a folder, or the one file.

    Raises:
        UsageError: the path is missing, or no image is in the folder.
    """
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise UsageError(f"{source}: no such file or folder; give an image or a folder of images")
    images = find_images(source)
    if not images:
        raise UsageError(f"{source}: no image in this folder; wanted {', '.join(SUFFIXES)}")
    return images


def plan_outputs(images: list[Path], folder: Path) -> dict[Path, Path]:
    """The output file of each image.

    Raises:
        UsageError: the folder can't be written to, two images would share an output file, or an
            image would be overwritten.
    """
    inputs = {image.resolve() for image in images}
    sources = defaultdict(list)
    for image in images:
        sources[output_path(image, folder)].append(image)
    for target, claimants in sources.items():
        if len(claimants) > 1:
            names = " and ".join(image.name for image in claimants)
            raise UsageError(f"{names} would both be written to {target}; rename all but one")
        if target.resolve() in inputs:
            raise UsageError(f"{target} is one of the images; give another folder for the output")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{folder}: can't be made ({error.strerror})") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UsageError(f"{folder}: user {os.getuid()} may not write to this folder")
    return {claimants[0]: target for target, claimants in sources.items()}


def segment_all(predictor: Predictor, targets: dict[Path, Path]) -> int:
    """Segment each image by itself; returns 0, or 1 if any failed."""
    failed = 0
    for source, target in (bar := tqdm(targets.items(), unit="image", disable=None)):
        bar.set_postfix_str(source.name)
        try:
            predictor.predict_file(source, target)
        except ImageError as error:
            problem = str(error)
        except OSError as error:
            problem = f"{source}: {target} can't be written ({error.strerror}); free some space"
        # One image, whatever is wrong with it, must not cost the others.
        except Exception as error:
            problem = f"{source}: {type(error).__name__}: {error}; please report this image"
        else:
            continue
        failed += 1
        bar.write(f"error: {problem}", file=sys.stderr)
    if failed:
        print(f"{failed} of {len(targets)} images failed, named above", file=sys.stderr)
    return int(failed > 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("input", type=Path, help="an image, or a folder of images")
    parser.add_argument("output", type=Path, help="folder for the label images; made if missing")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto (the default) takes CUDA where it works",
    )
    parser.add_argument(
        "--threads",
        type=_positive,
        default=available_threads(),
        help="CPU threads (default: all that this process may use, %(default)s here)",
    )
    parser.add_argument(
        "--weights", type=Path, default=WEIGHTS, help="folder with settings.json and the graphs"
    )
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1 was wanted")
    return value


if __name__ == "__main__":
    sys.exit(main())
