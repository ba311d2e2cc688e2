"""What is drawn: windows, crops and cells, of which images and how often, at which scale."""

import dataclasses

import numpy as np

from app.tile import scale_factor
from training.cells import SegmenterSamples, with_predicted_boxes
from training.samples import DetectorSamples


def test_a_training_crop_has_the_scale_of_prediction(detector_samples, tiny_config):
    # 96 pixels in a window of 192: prediction enlarges by 2, and so must training.
    sample = detector_samples.labelled.images[0]
    assert scale_factor(sample.label.shape, tiny_config.method) == 2.0
    detector_samples.config = dataclasses.replace(
        tiny_config.detector, scale=[1.0, 1.0], mosaic=0.0, rotation=0.0, crop=192
    )
    _, boxes, _ = detector_samples[0]
    sizes = (boxes[:, 2:] - boxes[:, :2]).amax(1)
    true = np.concatenate(
        [s.boxes[:, 2:] - s.boxes[:, :2] for s in detector_samples.labelled.images]
    )
    assert float(sizes.max()) <= 2 * true.max() + 1 and float(sizes.max()) > true.max()


def test_windows_are_drawn_once_an_epoch(tiny_images, tiny_config):
    config = dataclasses.replace(
        tiny_config.detector, window_stride=64, crop=96, steps=0, epochs=2, mosaic=0.0
    )
    samples = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    # 96 pixels, enlarged to 192, in windows of 96 that are 64 apart: 3 along each side.
    assert len(samples.windows) == 9 * len(tiny_images[0])
    assert samples.steps == 2 * len(samples.windows) / config.batch
    for epoch in range(2):
        start = epoch * len(samples.windows)
        names = [samples.names(start + n) for n in range(len(samples.windows))]
        assert all(len(name) == 1 for name in names)
        assert sorted(name[0] for name in names) == sorted(
            image.name for image in tiny_images[0] for _ in range(9)
        )


def test_mixup_shows_both_images_and_asks_for_both(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.detector, mosaic=1.0, mixup=0.0, photometric=0.0)
    plain = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    mixed = DetectorSamples(
        tiny_images[0], [], dataclasses.replace(config, mixup=1.0), tiny_config.method
    )
    assert len(plain.names(0)) == 4 and len(mixed.names(0)) == 5
    # Both begin with the same mosaic.
    assert len(mixed[0][1]) > len(plain[0][1])
    assert (mixed[0][1][: len(plain[0][1])] == plain[0][1]).all()
    half = plain[0][0].float() / 2
    assert (mixed[0][0].float() >= half.floor()).all() and (mixed[0][0].float() > half + 1).any()
    last = plain.last_start * config.batch
    assert len(plain.names(last)) == len(mixed.names(last)) == 1


def test_the_longest_beginning_of_a_name_decides_how_often_it_is_drawn(tiny_images, tiny_config):
    factors = {"disc": 0.0, "disc1": 1.0, "disc2": 4.0}
    config = dataclasses.replace(tiny_config.segmenter, factors=factors)
    samples = SegmenterSamples(tiny_images[0], [], config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(500)]
    assert set(drawn) == {"disc1", "disc2"}
    assert 370 < drawn.count("disc2") < 430


def test_pseudo_labelled_images_have_their_share(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.segmenter, unlabelled=1 / 6)
    other = [dataclasses.replace(image, name="pseudo") for image in tiny_images[1]]
    samples = SegmenterSamples(tiny_images[0], other, config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(600)]
    assert 70 < drawn.count("pseudo") < 130


def test_pseudo_labelled_images_have_their_share_among_windows(tiny_images, tiny_config):
    config = dataclasses.replace(
        tiny_config.detector, window_stride=64, unlabelled=1 / 6, mosaic=0.0
    )
    other = [dataclasses.replace(image, name="pseudo") for image in tiny_images[1]]
    samples = DetectorSamples(tiny_images[0], other, config, tiny_config.method)
    drawn = [samples.names(n)[0] for n in range(600)]
    assert 70 < drawn.count("pseudo") < 130


def test_an_epoch_without_windows_is_over_the_images(tiny_images, tiny_config):
    config = dataclasses.replace(tiny_config.detector, window_stride=0, steps=0, epochs=3)
    samples = DetectorSamples(tiny_images[0], [], config, tiny_config.method)
    assert samples.steps == 3 * len(tiny_images[0]) / config.batch


def test_a_cell_has_the_box_of_the_detector_that_finds_it(tiny_images, tiny_config):
    image = tiny_images[0][0]
    method = dataclasses.replace(tiny_config.method, max_magnification=1.0)
    near, far = image.boxes[0] + 1, image.boxes[1] + 40
    found = [np.stack((near, far))[None], np.full((1, 2), 0.9, np.float32)]
    changed = with_predicted_boxes(image, lambda batch: found, method)
    np.testing.assert_allclose(changed.boxes[0], near)
    np.testing.assert_array_equal(changed.boxes[1:], image.boxes[1:])
    nothing = [np.zeros((1, 0, 4), np.float32), np.zeros((1, 0), np.float32)]
    assert with_predicted_boxes(image, lambda batch: nothing, method) is image
