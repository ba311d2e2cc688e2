"""Weights of an exported graph, back in a model that can be trained."""

import pytest
import torch
from torch import nn

from app.settings import WEIGHTS, load_settings
from benchmarks.eager import load_networks
from training.export import ExportedDetector, ExportedSegmenter, export
from training.half_floats import halve
from training.initial_weights import load_start
from training.models.detector import Detector
from training.models.segmenter import Segmenter


def trained(model: nn.Module) -> nn.Module:
    """A model whose biases and batch norms are like nothing that a new one has."""
    first = next(module for module in model.modules() if isinstance(module, nn.BatchNorm2d))
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            module.running_mean = torch.randn(module.num_features)
            module.running_var = 0.5 + torch.rand(module.num_features)
        if isinstance(module, nn.BatchNorm2d | nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias)
    assert first.running_var is not None
    first.running_var *= 1e4  # of images that go to 255
    return model.eval()


@pytest.fixture(scope="module", params=["detector", "segmenter"])
def models(request, tmp_path_factory):
    """A model, its graph, and a new one of the same kind with the side of an image for it."""
    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("graphs") / "graph.onnx"
    if request.param == "detector":
        model = trained(Detector("nano"))
        export(ExportedDetector(model), path)
        return model, path, Detector("nano"), 96
    model = trained(Segmenter("slimmer"))
    export(ExportedSegmenter(model, 64), path)
    return model, path, Segmenter("slimmer"), 64


def outputs(model, images):
    with torch.inference_mode():
        return [part.double() for part in model.eval()(images)]


def test_a_graph_gives_its_model_back(models):
    model, path, new, side = models
    load_start(new, path, lambda: [255 * torch.rand(2, 3, side, side)])
    others = 255 * torch.rand(3, 3, side, side)  # not those that the batch norms were set by
    for found, wanted in zip(outputs(new, others), outputs(model, others), strict=True):
        assert wanted.std() > 0
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.std()))


def test_a_graph_of_16_bits_does_as_well(models, tmp_path):
    model, path, new, side = models
    halve(path, tmp_path / "halves.onnx")
    load_start(new, tmp_path / "halves.onnx", lambda: [255 * torch.rand(2, 3, side, side)])
    assert all(weight.dtype == torch.float32 for weight in new.parameters())
    images = 255 * torch.rand(3, 3, side, side)
    for found, wanted in zip(outputs(new, images), outputs(model, images), strict=True):
        assert (found - wanted).abs().mean() < 0.02 * wanted.std()


def test_its_batch_norms_know_what_they_see(models):
    """In training mode, with the images' own statistics, nothing changes either."""
    _, path, new, side = models
    images = 255 * torch.rand(4, 3, side, side)
    load_start(new, path, lambda: [images])
    wanted = outputs(new, images)
    with torch.inference_mode():
        found = [part.double() for part in new.train()(images)]
    for one, other in zip(found, wanted, strict=True):
        assert (one - other).abs().mean() < 0.02 * other.std()


def test_its_batch_norms_are_set_by_all_batches(models):
    """By batches as unlike as dark and bright ones just as by all images at once."""
    _, path, new, side = models
    batches = [level * torch.rand(2, 3, side, side) for level in (20, 90, 255)]
    load_start(new, path, lambda: batches)
    found = {name: value.clone() for name, value in new.state_dict().items()}
    load_start(new, path, lambda: [torch.cat(batches)])
    for name, wanted in new.state_dict().items():
        torch.testing.assert_close(found[name], wanted, rtol=1e-3, atol=1e-3)


def test_a_step_of_the_optimiser_turns_no_kernel_away(models):
    """Kernels that batch norms follow have one length, so a step turns each by as little."""
    _, path, new, side = models
    images = 255 * torch.rand(4, 3, side, side)
    load_start(new, path, lambda: [images])
    kernels = [
        layer.weight
        for layer in new.modules()
        if isinstance(layer, nn.Conv2d) and layer.bias is None
    ]
    before = [kernel.detach().flatten(1).clone() for kernel in kernels]
    optimiser = torch.optim.AdamW(new.parameters(), 1e-4)
    loss = sum(part.float().square().mean() for part in new.train()(images))
    loss.backward()
    optimiser.step()
    for kernel, old in zip(kernels, before, strict=True):
        cosines = nn.functional.cosine_similarity(kernel.detach().flatten(1), old)
        assert cosines.min() > 0.999


def test_a_graph_of_another_size(tmp_path):
    export(ExportedSegmenter(Segmenter("slimmer").eval(), 64), tmp_path / "graph.onnx")
    with pytest.raises(ValueError, match=r"graph.onnx: encoder.0.0.0.weight: \(16, 3, 3, 3\) was"):
        load_start(Segmenter("slim"), tmp_path / "graph.onnx", lambda: [torch.rand(1, 3, 64, 64)])


def test_the_shipped_graphs_are_those_of_the_last_stages():
    detector, segmenter = load_networks(WEIGHTS, load_settings(WEIGHTS).method)
    crops = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        (masks,) = segmenter(crops)
        boxes, scores = detector(crops)
    assert masks.shape == (2, 64, 64) and boxes.shape == (*scores.shape, 4)
