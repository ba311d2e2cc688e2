"""Checkpoints of the public YOLOX repository, as ``--start`` of a run."""

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.app.make_toy_graphs import RESOURCES
from training.config import Config
from training.errors import InputError
from training.initial_weights import load_start
from training.models.detector import Detector
from training.models.segmenter import Segmenter
from training.train import main
from training.trainer import Trainer

# Written from the public repository's naming, not from our modules, so that a slip in ours shows.
_WIDTHS = {"dark2": 64, "dark3": 128, "dark4": 256, "dark5": 512}


def official_state(classes: int) -> dict[str, Tensor]:
    """Names and shapes of the official YOLOX-s checkpoint, with random values."""
    state = {}

    def conv(name, inputs, outputs, kernel):
        state[f"{name}.conv.weight"] = torch.randn(outputs, inputs, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"{name}.bn.{part}"] = torch.rand(outputs)
        state[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)

    def csp(name, inputs, outputs, repeats):
        hidden = outputs // 2
        conv(f"{name}.conv1", inputs, hidden, 1)
        conv(f"{name}.conv2", inputs, hidden, 1)
        conv(f"{name}.conv3", 2 * hidden, outputs, 1)
        for i in range(repeats):
            conv(f"{name}.m.{i}.conv1", hidden, hidden, 1)
            conv(f"{name}.m.{i}.conv2", hidden, hidden, 3)

    conv("backbone.backbone.stem.conv", 12, 32, 3)
    inputs = 32
    for stage, outputs in _WIDTHS.items():
        conv(f"backbone.backbone.{stage}.0", inputs, outputs, 3)
        if stage == "dark5":
            conv(f"backbone.backbone.{stage}.1.conv1", outputs, outputs // 2, 1)
            conv(f"backbone.backbone.{stage}.1.conv2", outputs * 2, outputs, 1)
        repeats = 3 if stage in ("dark3", "dark4") else 1
        csp(f"backbone.backbone.{stage}.{2 if stage == 'dark5' else 1}", outputs, outputs, repeats)
        inputs = outputs
    conv("backbone.lateral_conv0", 512, 256, 1)
    csp("backbone.C3_p4", 512, 256, 1)
    conv("backbone.reduce_conv1", 256, 128, 1)
    csp("backbone.C3_p3", 256, 128, 1)
    conv("backbone.bu_conv2", 128, 128, 3)
    csp("backbone.C3_n3", 256, 256, 1)
    conv("backbone.bu_conv1", 256, 256, 3)
    csp("backbone.C3_n4", 512, 512, 1)
    for level, inputs in enumerate((128, 256, 512)):
        conv(f"head.stems.{level}", inputs, 128, 1)
        for branch in ("cls", "reg"):
            for i in range(2):
                conv(f"head.{branch}_convs.{level}.{i}", 128, 128, 3)
        for branch, outputs in (("cls", classes), ("reg", 4), ("obj", 1)):
            state[f"head.{branch}_preds.{level}.weight"] = torch.randn(outputs, 128, 1, 1)
            state[f"head.{branch}_preds.{level}.bias"] = torch.randn(outputs)
    return state


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """A file like yolox_s.pth, and what it holds."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("official") / "yolox_s.pth"
    state = official_state(classes=80)
    torch.save({"start_epoch": 300, "amp": {}, "optimizer": {"state": {}}, "model": state}, path)
    return path, state


def refuse_to_draw():
    raise AssertionError("only a graph needs images")


def test_the_file_is_loaded_whole_but_for_the_classes(official):
    path, state = official
    model = Detector("s")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    load_start(model, path, refuse_to_draw)
    ours = model.state_dict()
    assert len(ours) == len(state)
    pairs = {
        "backbone.dark5.1.conv2.bn.running_var": "backbone.backbone.dark5.1.conv2.bn.running_var",
        "neck.lateral_conv0.conv.weight": "backbone.lateral_conv0.conv.weight",
        "neck.C3_n4.m.0.conv2.conv.weight": "backbone.C3_n4.m.0.conv2.conv.weight",
        "head.reg_preds.2.bias": "head.reg_preds.2.bias",
    }
    for name, theirs in pairs.items():
        torch.testing.assert_close(ours[name], state[theirs])
    kept = {name for name in ours if torch.equal(ours[name], before[name])}
    assert kept == {
        f"head.cls_preds.{level}.{part}" for level in range(3) for part in ("bias", "weight")
    }


def test_the_first_layer_sees_the_channels_that_it_was_trained_on(official):
    """YOLOX's images are BGR; what its first layer says of them, ours must say of RGB."""
    path, state = official
    model = Detector("s")
    load_start(model, path, refuse_to_draw)
    rgb = torch.rand(1, 3, 32, 64)
    bgr = rgb[:, [2, 1, 0]]
    corners = [bgr[..., i::2, j::2] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))]
    kernel = state["backbone.backbone.stem.conv.conv.weight"]
    wanted = torch.nn.functional.conv2d(torch.cat(corners, 1), kernel, padding=1)
    found = []
    model.backbone.stem.conv.conv.register_forward_hook(lambda *call: found.append(call[2]))
    with torch.inference_mode():
        model.eval()(rgb)
    torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-4)


def test_classes_are_loaded_where_there_are_as_many(tmp_path):
    model, state = Detector("s"), official_state(classes=1)
    torch.save({"model": state}, tmp_path / "own.pth")
    load_start(model, tmp_path / "own.pth", refuse_to_draw)
    torch.testing.assert_close(
        model.state_dict()["head.cls_preds.0.weight"], state["head.cls_preds.0.weight"]
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda s: s.pop("head.obj_preds.1.bias"),
            r"pth: head\.obj_preds\.1\.bias is missing \(1 ",
        ),
        (lambda s: s.update({"head.extra": torch.zeros(1)}), r"pth: head\.extra is unknown \(1 "),
        (
            lambda s: s.update({"backbone.bu_conv2.conv.weight": torch.zeros(1)}),
            r"neck\.bu_conv2\.conv\.weight: \(128, 128, 3, 3\) was wanted, found \(1,\)",
        ),
    ],
)
def test_other_files_are_refused_by_name(change, message, official, tmp_path):
    state = dict(official[1])
    change(state)
    torch.save({"model": state}, tmp_path / "other.pth")
    model = Detector("s")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(InputError, match=message):
        load_start(model, tmp_path / "other.pth", refuse_to_draw)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_a_segmenter_does_not_start_from_it(official):
    with pytest.raises(InputError, match=r"yolox_s\.pth: has start_epoch, amp, optimizer, model"):
        load_start(Segmenter("slim"), official[0], refuse_to_draw)


def test_a_run_starts_from_the_file(official, tiny_data, tiny_config, tmp_path, monkeypatch):
    path, state = official
    stage = dataclasses.replace(tiny_config.detector, size="s")
    config = Config(
        method=tiny_config.method,
        resources=RESOURCES,
        stages={"one": stage},
        systems={},
        teacher="",
    )
    models = []

    class Untrained(Trainer):
        def run(self):
            models.append(self.model)

    monkeypatch.setattr("training.train.load_config", lambda path: config)
    monkeypatch.setattr("training.train.Trainer", Untrained)
    assert main(["x.toml", "one", str(tiny_data), str(tmp_path), "--start", str(path)]) == 0
    found = models[0].state_dict()["head.obj_preds.1.bias"]
    torch.testing.assert_close(found.cpu(), state["head.obj_preds.1.bias"])
