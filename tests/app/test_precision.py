"""Which graphs run: by the processor, or as the user says, and never silently others."""

import json
import shutil

import pytest

from app import Segmenter
from app.session import DeviceError, candidates
from tests.app.command_line import TOY, report, run_in, write


@pytest.fixture
def weights(tmp_path):
    """The toy weights with a graph of integers for each model, in name alone."""
    shutil.copytree(TOY, tmp_path / "w")
    settings = json.loads((tmp_path / "w" / "settings.json").read_text())
    for role in ("detector", "segmenter"):
        shutil.copy(tmp_path / "w" / f"{role}.onnx", tmp_path / "w" / f"{role}_int8.onnx")
        settings[role]["vnni"] = {**settings[role]["cpu"], "file": f"{role}_int8.onnx"}
    (tmp_path / "w" / "settings.json").write_text(json.dumps(settings))
    return tmp_path / "w"


def set_vnni(monkeypatch, there: bool) -> None:
    monkeypatch.setattr("app.session.has_vnni", lambda: there)


@pytest.mark.parametrize(
    ("precision", "vnni", "end"),
    [
        ("auto", True, "_int8"),
        ("auto", False, ""),
        ("float", True, ""),
        ("float", False, ""),
        ("int8", True, "_int8"),
    ],
)
def test_the_graphs_of_a_precision_run_and_are_told(
    precision, vnni, end, weights, folder, monkeypatch
):
    set_vnni(monkeypatch, vnni)
    write(folder / "in" / "a.png")
    assert run_in(folder, "--precision", precision, "--weights", weights) == 0
    graphs = [graph["file"] for graph in report(folder)[0]["graphs"]]
    assert graphs == [f"detector{end}.onnx", f"segmenter{end}.onnx"]


@pytest.mark.parametrize(
    ("device", "vnni", "told"),
    [("cpu", False, "no VNNI instructions"), ("cuda", True, "a GPU runs floats")],
)
def test_integers_that_would_not_run_right_are_refused(device, vnni, told, monkeypatch):
    set_vnni(monkeypatch, vnni)
    with pytest.raises(DeviceError, match=f"precision int8: .*{told}"):
        candidates(device, "int8")


def test_weights_without_integers_are_refused(folder, capsys, monkeypatch):
    set_vnni(monkeypatch, True)
    write(folder / "in" / "a.png")
    assert run_in(folder, "--precision", "int8") == 2
    assert "has no graphs of 8-bit integers" in capsys.readouterr().err


def test_from_python(weights, monkeypatch):
    set_vnni(monkeypatch, True)
    files = [
        [graph.file for graph in Segmenter(weights, "cpu", 1, precision)._predictor.graphs]
        for precision in ("int8", "float")
    ]
    assert files[0][0] == "detector_int8.onnx" and files[1][0] == "detector.onnx"
    with pytest.raises(ValueError, match="auto, int8, float was wanted"):
        Segmenter(weights, precision="half")
