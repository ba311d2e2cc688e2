"""The detector's samples: crops of labelled images, changed at random."""

import math
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from app.settings import Method
from app.tile import scale_factor
from training.augment.empty import UNLABELLED_CELLS, find_field, noise_field, real_field
from training.augment.framing import crop_centre, draw_cell_scale, draw_scale
from training.augment.geometry import Size, label_boxes, random_affine, warp
from training.augment.limits import draw_limits, show
from training.augment.photometry import photometric
from training.augment.scene import finish, render
from training.config import CropConfig, DetectorConfig, StageConfig
from training.data import Labelled, Pool
from training.epochs import count_steps, epoch_order, window_centres

# A window: its image and its middle xy in pixels of the image.
Window = tuple[Labelled, tuple[float, float]]
# A crop (H, W, 3) uint8, the boxes (N, 4) of its cells, and (M, 4) of what may be cells.
Crop = tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]

_MIN_SIDE = 4.0  # pixels, the root of a box's area: smaller cells are ignored in the loss


class Samples(Dataset[tuple[torch.Tensor, ...]]):
    """Samples of labelled images, and of pseudo-labelled ones for a share of the draws.

    Sample i is a pure function of the seed and i.
    """

    def __init__(
        self, images: list[Labelled], unlabelled: list[Labelled], stage: StageConfig
    ) -> None:
        self.labelled = Pool(images, stage)
        self.unlabelled = Pool(unlabelled, stage) if stage.unlabelled else self.labelled
        self.unlabelled_share = stage.unlabelled
        self.seed = stage.seed
        self.drawn: list[str] = []

    def draw(self, rng: np.random.Generator, labelled: Labelled | None = None) -> Labelled:
        """An image: a pseudo-labelled one for their share of the draws, else a labelled one.

        Args:
            labelled: the labelled one, where it is not to be drawn.
        """
        if rng.random() < self.unlabelled_share:
            image = self.unlabelled.draw(rng)
        else:
            image = labelled or self.labelled.draw(rng)
        self.drawn.append(image.name)
        return image

    def start(self, index: int) -> np.random.Generator:
        """The random numbers of a sample."""
        self.drawn = []
        return np.random.default_rng([self.seed, index])

    def names(self, index: int) -> list[str]:
        """The images that a sample is made of."""
        self[index]
        return self.drawn


class CropSamples(Samples):
    """Crops of images that hold many cells."""

    def __init__(
        self,
        images: list[Labelled],
        unlabelled: list[Labelled],
        config: CropConfig,
        method: Method,
    ) -> None:
        super().__init__(images, unlabelled, config)
        self.config = config
        self.method = method
        self.windows = [
            (image, centre)
            for image in self.labelled.images
            for centre in window_centres(image.label.shape, config, method)
        ]
        self.epoch_steps = math.ceil(len(self.windows) / config.batch)
        self.steps = count_steps(config, len(self.windows))

    def window(self, index: int) -> Window | None:
        """The window of a sample; None where crops lie anywhere."""
        if not self.config.window_stride:
            return None
        epoch, place = divmod(index, len(self.windows))
        return self.windows[int(epoch_order(self.seed, epoch, len(self.windows))[place])]

    def view(
        self, rng: np.random.Generator, size: tuple[int, int], window: Window | None = None
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint16], NDArray[np.float64]]:
        """A crop (H, W) of one image; if that is a window's, around the middle of the window.

        Returns:
            (H, W, 3) uint8; its (H, W) label image; the pixels that each id would have uncut.
        """
        sample = self.draw(rng, window[0] if window else None)
        scale = draw_scale(rng, scale_factor(sample.label.shape, self.method), self.spread)
        affine = self.frame(rng, sample, scale, size, window)
        image, label = warp(sample.image, sample.label, affine, size, self.method.pad_value)
        if rng.random() < self.config.photometric:
            image = photometric(rng, image)
        return image, label, sample.areas * scale**2

    @property
    def spread(self) -> tuple[float, float]:
        """Lowest and highest of the random scale."""
        low, high = self.config.scale
        return low, high

    def frame(
        self,
        rng: np.random.Generator,
        sample: Labelled,
        scale: float,
        size: Size,
        window: Window | None,
    ) -> NDArray[np.float64]:
        """Where a crop (H, W) lies: (2, 3), xy of the image to xy of the crop."""
        given = window[1] if window and sample is window[0] else None
        view = (size[0] / scale, size[1] / scale)
        centre = given or crop_centre(rng, sample.label.shape, sample.boxes, view)
        return random_affine(rng, centre, scale, self.config.rotation, size)


class DetectorSamples(CropSamples):
    """Sample i is a crop (3, S, S) uint8, its boxes (N, 4) float32 xyxy, and ``ignored`` boxes.

    What lies in the ignored ones, (M, 4) float32, may or may not be a cell.
    """

    config: DetectorConfig

    def __init__(
        self,
        images: list[Labelled],
        unlabelled: list[Labelled],
        config: DetectorConfig,
        method: Method,
    ) -> None:
        super().__init__(images, unlabelled, config, method)
        self.last_start = round(self.steps * (1 - config.last_share))

    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        config = self.config
        rng = self.start(index)
        size = (config.crop, config.crop)
        last = index >= self.last_start * config.batch
        window = self.window(index)
        if rng.random() < config.empty:
            nothing = np.zeros((0, 4), np.float32)
            crop: Crop = (self._empty(rng, size), nothing, nothing)
        elif not last and rng.random() < config.mosaic:
            crop = self._mosaic(rng, window)
            if rng.random() < config.mixup:
                other = self._crop(rng, size)
                blended = np.asarray(cv2.addWeighted(crop[0], 0.5, other[0], 0.5, 0.0), np.uint8)
                boxes, ignored = (
                    np.concatenate(pair) for pair in zip(crop[1:], other[1:], strict=True)
                )
                crop = blended, boxes, ignored
        else:
            crop = self._crop(rng, size, window)
        pixels = torch.from_numpy(crop[0]).permute(2, 0, 1).contiguous()
        return pixels, torch.from_numpy(crop[1]), torch.from_numpy(crop[2])

    def _mosaic(self, rng: np.random.Generator, window: Window | None) -> Crop:
        """Four crops of four images that meet in a random point (YOLOX, section 2.1)."""
        size = self.config.crop
        x, y = (int(v) for v in rng.integers(size // 4, size - size // 4 + 1, 2))
        canvas = np.empty((size, size, 3), np.uint8)
        boxes, ignored = [], []
        for y0, y1 in ((0, y), (y, size)):
            for x0, x1 in ((0, x), (x, size)):
                part = self._crop(rng, (y1 - y0, x1 - x0), window)
                window = None  # the other three are drawn
                corner = np.array([x0, y0, x0, y0], np.float32)
                canvas[y0:y1, x0:x1] = part[0]
                boxes.append(part[1] + corner)
                ignored.append(part[2] + corner)
        return canvas, np.concatenate(boxes), np.concatenate(ignored)

    def _crop(self, rng: np.random.Generator, size: Size, window: Window | None = None) -> Crop:
        """A crop (H, W) of one image; if that is a window's, around the middle of the window."""
        config = self.config
        sample = self.draw(rng, window[0] if window else None)
        if rng.random() < config.cell_size_share:
            low, high = config.cell_sizes
            scale = draw_cell_scale(rng, sample.boxes, (low, high), size)
        else:
            usual = scale_factor(sample.label.shape, self.method)
            scale = draw_scale(rng, usual, self.spread)
        affine = self.frame(rng, sample, scale, size, window)
        scene = render(rng, sample, affine, size, config, self.method.pad_value)
        boxes, _ = label_boxes(scene.label, scene.areas)
        tiny = np.sqrt(np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)) < _MIN_SIDE
        return scene.image, boxes[~tiny], np.concatenate((scene.ignored, boxes[tiny]))

    def _empty(self, rng: np.random.Generator, size: Size) -> NDArray[np.uint8]:
        """A crop without a cell, (H, W, 3) uint8: of a real image's ground, or of noise."""
        sample = self.draw(rng)
        found = None
        if rng.random() < 0.6 and not sample.source.startswith(UNLABELLED_CELLS):
            found = find_field(rng, sample.label, sample.ignored)
        if found is None:
            image, side = noise_field(rng, size), 32.0
        else:
            usual = scale_factor(sample.label.shape, self.method)
            scale = draw_scale(rng, usual, self.spread)
            crop, own = real_field(rng, sample.recording, found, scale, size)
            dark = sample.modality == "Fluo"
            limits = draw_limits(rng, sample.recording, self.config.limits, dark)
            image = show(crop, own if rng.random() < 0.5 else limits)
            image = np.repeat(image[:, :, None], 3, 2) if image.ndim == 2 else image
            side = scale * float(np.median(sample.boxes[:, 2] - sample.boxes[:, 0]))
        return finish(rng, image, side, self.config, drop=True)


def collate_boxes(items: list[tuple[torch.Tensor, ...]]) -> tuple[Any, ...]:
    """Stack the images; the boxes of all follow each other, with how many there are of each.

    A tensor for each image's boxes would be a file for each, of which a process may open few.

    Returns:
        (B, 3, S, S) uint8; for the boxes, and for the ignored ones, (T, 4) float32 and (B,) int64.
    """
    images, *boxes = zip(*items, strict=True)
    joined = ((torch.cat(some), torch.tensor([len(each) for each in some])) for some in boxes)
    return torch.stack(images), *joined
