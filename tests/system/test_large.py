"""What takes size: images of several large windows, and a cell as large as a slide."""

import numpy as np
import pytest
import tifffile

from app.detect import detect
from app.files.open import open_image
from app.predict import predict
from app.running.memory import peak_memory, restart_peak_memory
from tests.app.perfect_detectors import LARGE, by_place, paint, scatter, see, true_boxes
from tests.app.test_giant_cells import Painted

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize("shape", [(1537, 2817), (2817, 300), (1, 1537)])
def test_in_large_windows_as_in_one(shape):
    label = scatter(np.random.default_rng(0), shape, (8, 250), 60)
    boxes, _ = detect(paint(label), see, LARGE)
    np.testing.assert_array_equal(by_place(boxes), by_place(true_boxes(label)))


def test_a_cell_as_large_as_a_slide_takes_no_memory(tmp_path):
    """81 megapixels, 9000 x 9000, where every window is full of cells and may be one itself."""
    tile = paint(scatter(np.random.default_rng(0), (512, 512), (20, 60), 60))
    layout = {"tile": tile.shape[:2], "photometric": "rgb", "compression": "zlib"}
    file, shape = tmp_path / "slide.tiff", (9000, 9000, 3)
    tifffile.imwrite(file, (tile for _ in range(18 * 18)), shape=shape, dtype=np.uint8, **layout)
    starts = np.stack(np.meshgrid(*[np.arange(0, 1500, 150)] * 2), 2).reshape(-1, 2)
    small = np.concatenate((starts, starts + 40), 1)

    def segmenter(crops):
        return [np.full(crops.shape[:3], 0.9, np.float32)]

    peaks, sizes = [], []
    for giant in (False, True):

        def detector(batch, giant=giant):
            height, width = batch.shape[1:3]
            boxes = small[(small[:, 2:] < [width, height]).all(1)]
            boxes = np.concatenate((boxes, [[0, 0, width, height]] if giant else boxes[:0]))
            scores = np.where(np.arange(len(boxes)) < len(small), 0.9, 0.6)
            return [boxes[None].astype(np.float32), scores[None].astype(np.float32)]

        with open_image(file, "refuse", None) as image:
            restart_peak_memory()
            found = predict(image, detector, segmenter, LARGE, canvas=Painted(shape[0]))
            peaks.append(peak_memory())
        sizes.append((found.boxes[:, 2:] - found.boxes[:, :2]).max())
    assert sizes[0] < 50 and sizes[1] == 9000
    assert peaks[1] < peaks[0] + 50e6, peaks
