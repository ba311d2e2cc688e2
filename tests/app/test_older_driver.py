"""A driver that is too old for CUDA: the CPU does the work, and it is said."""

import pytest

from app import session
from app.running.options import parse
from app.running.run import run
from app.session import DeviceError, open_session

# As ONNX Runtime 1.31 words it, shortened.
FAILURE = "cuda_call.cc:146 CUDA failure 35: CUDA driver version is insufficient ; GPU=-1 ; file=a"
TOLD = "ONNX Runtime could not start CUDA (CUDA failure 35: CUDA driver version is insufficient); "
TOY = "tests/app/toy_weights"


@pytest.fixture
def older_driver(monkeypatch):
    real = session.onnxruntime.InferenceSession

    def start(graph, options, providers, **more):
        if providers[0] != "CPUExecutionProvider":
            raise RuntimeError(FAILURE)
        return real(graph, options, providers=providers, **more)

    monkeypatch.setattr(session, "_has_driver", lambda: True)
    monkeypatch.setattr(session.onnxruntime, "InferenceSession", start)
    monkeypatch.setattr(
        session.onnxruntime,
        "get_available_providers",
        lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )


def test_the_cpu_does_the_work_and_a_line_says_so(older_driver, tmp_path, capfd):
    assert run(parse(["samples/images", str(tmp_path), "--weights", TOY])) == 0
    told, error = capfd.readouterr()
    assert not told
    assert error.startswith(f"warning: {TOLD}")
    assert error.splitlines()[0].endswith("; the CPU does the work")
    assert "CPUExecutionProvider" in error.splitlines()[1]


def test_who_asks_for_cuda_is_told_why_not(older_driver, tmp_path, capfd):
    options = ["samples/images", str(tmp_path), "--weights", TOY, "--device", "cuda"]
    assert run(parse(options)) == 2
    assert capfd.readouterr().err.startswith(f"error: device cuda: {TOLD}")


def test_a_fault_of_the_cpu_is_not_taken_for_one_of_cuda(tmp_path):
    (tmp_path / "no.onnx").touch()
    with pytest.raises(Exception) as caught:
        open_session(tmp_path / "no.onnx", "cpu", 1, 0)
    assert not isinstance(caught.value, DeviceError)
