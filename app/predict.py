"""The whole path of an image, top to bottom: from its pixels to one outlined instance a cell."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from app.detect import detect
from app.normalise import normalise
from app.paste import paste, relabel
from app.read import read_image
from app.segment import round_boxes, segment
from app.session import Device, Run, open_session, provider, runner
from app.settings import Method, load_settings
from app.write import write_label


class Predictor:
    """Both graphs and their settings, loaded once for any number of images.

    Args:
        weights: folder with ``settings.json`` and the graphs it names.
        device: ``auto`` takes CUDA where it works and the CPU elsewhere.
        threads: of the CPU, for one operator.

    Raises:
        SettingsError: the weights are not what the settings say.
        DeviceError: ``cuda`` was asked for and is not there.
    """

    def __init__(self, weights: Path, device: Device, threads: int) -> None:
        self.settings = load_settings(weights)
        detector = open_session(weights / self.settings.detector.file, device, threads)
        segmenter = open_session(weights / self.settings.segmenter.file, device, threads)
        self.provider = provider(detector)
        cv2.setNumThreads(threads)
        self.detector, self.segmenter = runner(detector), runner(segmenter)

    def predict_file(self, source: Path, target: Path) -> int:
        """Read an image, segment it, write its label image.

        Returns:
            The number of cells.

        Raises:
            ImageError: the image can't be read.
            OSError: the label image can't be written.
        """
        label = predict(read_image(source), self.detector, self.segmenter, self.settings)
        write_label(target, label)
        return int(label.max())


def predict(
    image: NDArray[np.generic], detector: Run, segmenter: Run, method: Method
) -> NDArray[np.uint16] | NDArray[np.uint32]:
    """Outline every cell of an image.

    Args:
        image: (H, W) or (H, W, C), any integer or float dtype.
        detector: as ``detect`` wants it.
        segmenter: as ``segment`` wants it.
        method: every number on the way.

    Returns:
        (H, W) label image: 0 is background, 1 to N are the cells, the most certain first.
    """
    normal = normalise(image, method.low_percentile, method.high_percentile)
    shape = (normal.shape[0], normal.shape[1])
    found, _ = detect(normal, detector, method)
    boxes = round_boxes(found, shape)
    masks = segment(normal, boxes, segmenter, method)
    return relabel(paste(masks, boxes, shape), len(boxes), method.least_area)
