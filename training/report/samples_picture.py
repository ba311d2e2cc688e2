"""Draw the samples of a stage, to see what it is trained on.

    python -m training.report.samples_picture CONFIG STAGE DATA OUT.jpg --sources dsb2018 --count 24

The detector's have their cells framed in green, and those in orange that are too small and are
ignored in training; the segmenter's have the outline of their cell, in the boxes of the labels.
Of labelled images alone.
"""

import dataclasses
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from training.cells import SegmenterSamples
from training.command import command_parser, from_1, user_errors
from training.config import Config, DetectorConfig, SegmenterConfig, load_config
from training.data import Labelled, load_image
from training.errors import InputError
from training.layout import read_split
from training.report.overlay import write_picture
from training.samples import DetectorSamples

_CELL, _IGNORED = (0, 230, 0), (255, 140, 0)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = command_parser(__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("stage")
    parser.add_argument("data", type=Path)
    parser.add_argument("output", type=Path, help="a .jpg or .png")
    parser.add_argument("--sources", nargs="+", help="of metadata.csv (default: all)")
    parser.add_argument("--images", type=from_1, help="of each source, at most (default: all)")
    parser.add_argument("--first", type=int, default=0, help="number of the first sample")
    parser.add_argument("--count", type=from_1, default=24, help="samples (default: %(default)s)")
    parser.add_argument("--columns", type=from_1, default=6, help="(default: %(default)s)")
    parser.add_argument("--side", type=from_1, default=320, help="pixels of a sample's picture")
    parser.add_argument("--quality", type=from_1, default=85, help="of a JPEG, 1 to 100")
    options = parser.parse_args(arguments)
    with user_errors(parser):
        config = load_config(options.config)
        if options.first < 0:
            raise InputError(f"--first {options.first}: samples are numbered from 0")
        stage = config.stages.get(options.stage)
        if not isinstance(stage, DetectorConfig | SegmenterConfig):
            raise InputError(
                f"{options.stage} is no detector or segmenter stage of {options.config}"
            )
        stage = dataclasses.replace(stage, unlabelled=0.0)
        images = load_some(options.data, config, options.sources, options.images)
        samples = (
            DetectorSamples(images, [], stage, config.method)
            if isinstance(stage, DetectorConfig)
            else SegmenterSamples(images, [], stage, config.method)
        )
        numbers = range(options.first, options.first + options.count)
        pictures = [draw(samples[number], options.side) for number in numbers]
        quality = [cv2.IMWRITE_JPEG_QUALITY, options.quality]
        write_picture(options.output, tile(pictures, options.columns), quality)
    return 0


def load_some(
    data: Path, config: Config, sources: list[str] | None, count: int | None
) -> list[Labelled]:
    """Images of split ``train``.

    Args:
        data: a data set in the challenge's layout.
        config: has the method.
        sources: of its metadata; None for all.
        count: images of each, at most; None for all.

    Raises:
        InputError: there is none.
    """
    taken: Counter[str] = Counter()
    images = []
    for row in read_split(data, "train"):
        source = row["source"]
        if sources and source not in sources:
            continue
        taken[source] += 1
        if not count or taken[source] <= count:
            images.append(load_image(data, row, config.method))
    if not images:
        raise InputError(f"{data}: split train has no image of {', '.join(sources or ())}")
    return images


def draw(sample: tuple[Tensor, ...], side: int) -> NDArray[np.uint8]:
    """A sample with its boxes, or with the outline of its mask, (side, side, 3) uint8."""
    pixels, *marks = sample
    image = pixels.permute(1, 2, 0).numpy()
    factor = side / image.shape[0]
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    picture = np.ascontiguousarray(cv2.resize(image, (side, side), interpolation=interpolation))
    if len(marks) == 1:
        mask = cv2.resize(marks[0].numpy(), (side, side)) > 0.5
        outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, outlines, -1, _CELL, 1)
        return np.asarray(picture, np.uint8)
    boxes, ignored = marks
    for colour, framed in ((_IGNORED, ignored), (_CELL, boxes)):
        for x0, y0, x1, y1 in np.rint(framed.numpy() * factor).astype(int).tolist():
            cv2.rectangle(picture, (x0, y0), (x1 - 1, y1 - 1), colour, 1)
    return np.asarray(picture, np.uint8)


def tile(pictures: list[NDArray[np.uint8]], columns: int) -> NDArray[np.uint8]:
    """Pictures of one size in rows of ``columns``, a white line apart."""
    framed = [
        cv2.copyMakeBorder(p, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(255,) * 3) for p in pictures
    ]
    framed += [np.full_like(framed[0], 255)] * (-len(framed) % columns)
    rows = [np.concatenate(framed[n : n + columns], 1) for n in range(0, len(framed), columns)]
    return np.asarray(np.concatenate(rows), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
