"""The package as a guest in a notebook's process: threads, interrupts, silence, any system."""

import copy
import json
import logging
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import app
from app import Segmenter
from app.session import Network, open_session
from tests.app.command_line import IMAGE, TOY
from tests.app.make_toy_graphs import BOXES, SCORES


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(TOY, "cpu", 1)


def test_several_threads_share_one(segmenter):
    images = [np.roll(IMAGE, n, 1) if n % 3 else IMAGE.T.copy() for n in range(24)]
    alone = [segmenter.segment(image) for image in images]
    with ThreadPoolExecutor(6) as pool:
        together = list(pool.map(segmenter.segment, images))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.look == other.look


def test_warnings_are_those_of_the_own_thread(segmenter):
    noise = np.random.default_rng(0).normal(100, 5, (200, 220)).astype(np.float32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(segmenter.segment, [noise, IMAGE] * 8))
    assert [len(each.warnings) for each in found] == [1, 0] * 8


def slow_weights(folder: Path) -> Path:
    """The toy weights, but the detector takes minutes for images of more than 32 rows."""
    shutil.copytree(TOY, folder)
    constants = {
        "boxes": BOXES, "scores": SCORES, "axis": np.array([1]), "end": np.array([2]),
        "side": np.array(64), "turns": np.array(2**26), "on": np.array(True),
        "nothing": np.array(0, np.float32),
    }  # fmt: skip
    step = helper.make_graph(
        [helper.make_node("Cos", ["old"], ["new"]), helper.make_node("Identity", ["go"], ["stay"])],
        "step",
        [
            helper.make_tensor_value_info("turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("old", TensorProto.FLOAT, []),
        ],
        [
            helper.make_tensor_value_info("stay", TensorProto.BOOL, []),
            helper.make_tensor_value_info("new", TensorProto.FLOAT, []),
        ],
    )
    nodes = [
        helper.make_node("Shape", ["images"], ["shape"]),
        helper.make_node("Slice", ["shape", "axis", "end"], ["rows"]),
        helper.make_node("Squeeze", ["rows"], ["height"]),
        helper.make_node("Div", ["height", "side"], ["tall"]),
        helper.make_node("Mul", ["tall", "turns"], ["count"]),
        helper.make_node("Loop", ["count", "on", "nothing"], ["last"], body=step),
        helper.make_node("Mul", ["last", "nothing"], ["zero"]),
        helper.make_node("Add", ["all_boxes", "zero"], ["boxes"]),
        helper.make_node("Identity", ["all_scores"], ["scores"]),
    ]
    stored = [
        numpy_helper.from_array(array, f"all_{name}" if name in ("boxes", "scores") else name)
        for name, array in constants.items()
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", "h", "w", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, constants[name].shape)
        for name in ("boxes", "scores")
    ]
    graph = helper.make_graph(nodes, "detector", [images], outputs, stored)
    opset = [helper.make_opsetid("", 18)]
    data = helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    onnx.checker.check_model(data)
    (folder / "detector.onnx").write_bytes(data)
    settings = json.loads((folder / "settings.json").read_text())
    settings["detector"]["cpu"]["sha256"] = sha256(data).hexdigest()
    (folder / "settings.json").write_text(json.dumps(settings))
    return folder


class Watched:
    """A session of which it is known when it runs."""

    def __init__(self, session: onnxruntime.InferenceSession) -> None:
        self.session, self.get_inputs = session, session.get_inputs
        self.begun, self.ended = threading.Event(), threading.Event()

    def run(self, *arguments):
        self.begun.set()
        try:
            return self.session.run(*arguments)
        finally:
            self.ended.set()


@pytest.fixture
def interruptible():
    """A shell that starts the tests in the background has them ignore interrupts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_it_usable(tmp_path, capfd):
    weights = slow_weights(tmp_path / "slow")
    segmenter = Segmenter(weights, "cpu", 1)
    watched = Watched(open_session(weights / "detector.onnx", "cpu", 1, 0))
    segmenter._predictor.detector = Network(watched)
    quick = IMAGE[:32]
    before = segmenter.segment(quick)
    assert before.labels.any()
    main = threading.main_thread().ident

    def interrupt():
        watched.begun.wait(30)
        signal.pthread_kill(main, signal.SIGINT)

    for _ in range(3):
        watched.begun.clear()
        watched.ended.clear()
        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            segmenter.segment(IMAGE)
        thread.join()
        assert watched.ended.wait(10)  # by itself it would go on for minutes
        after = segmenter.segment(quick)
        np.testing.assert_array_equal(after.labels, before.labels)
        np.testing.assert_array_equal(after.scores, before.scores)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("use", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_not_pickled_or_copied(use, segmenter):
    with pytest.raises(TypeError, match="can't be pickled or copied; make one in each process"):
        use(segmenter)


def test_nothing_of_the_process_is_changed():
    loggers = [logging.getLogger(name) for name in (None, "app", "tifffile")]
    before = [list(logger.handlers) for logger in loggers]
    threads, cwd, handler = cv2.getNumThreads(), Path.cwd(), signal.getsignal(signal.SIGINT)
    Segmenter(TOY, "cpu", threads + 1).segment(IMAGE)
    assert (cv2.getNumThreads(), Path.cwd()) == (threads, cwd)
    assert signal.getsignal(signal.SIGINT) is handler
    assert [list(logger.handlers) for logger in loggers] == before


# What Windows or macOS lack; a library may import a module of these, but not need it.
BLOCK = """
import os, signal, sys
for name in ("fcntl", "grp", "posix_spawn", "pwd", "resource", "termios"):
    sys.modules[name] = None
for name in ("fork", "forkpty", "getuid", "geteuid", "getppid", "posix_fallocate", "prctl",
             "sched_getaffinity", "waitpid", "WIFEXITED", "statvfs", "memfd_create"):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGKILL", "pthread_kill", "pthread_sigmask"):
    delattr(signal, name)
"""
USE = f"""
import numpy as np
from app import Segmenter
from app.session import Network, open_session
noise = np.random.default_rng(0).normal(100, 5, (200, 220)).astype(np.float32)
segmenter = Segmenter({str(TOY)!r})
assert segmenter.segment(noise).warnings
print(len(segmenter.segment(np.load("image.npy")).scores), end="")
"""

FORK = f"""
import os
import numpy as np
from app import Segmenter
image, segmenter = np.load("image.npy"), Segmenter({str(TOY)!r})
for make in (lambda: segmenter, lambda: Segmenter({str(TOY)!r})):
    child = os.fork()
    if not child:
        try:
            print(len(make().segment(image).scores), flush=True)
        except RuntimeError as error:
            print(error, flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a folder, in a process of its own that says all that it can."""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    return subprocess.run(
        [sys.executable, "-W", "always", "-c", code.replace(str(TOY), str(TOY.absolute()))],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_it_prints_nothing(tmp_path):
    np.save(tmp_path / "image.npy", IMAGE)
    done = python(USE, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "2", "")


def test_after_a_fork_it_says_so(tmp_path):
    np.save(tmp_path / "image.npy", IMAGE)
    said, found = python(FORK, tmp_path).stdout.splitlines()
    assert said.startswith("this Segmenter was made before the process was forked")
    assert said.endswith("; make one in each process") and found == "2"


def test_it_needs_nothing_that_only_posix_has(tmp_path):
    np.save(tmp_path / "image.npy", IMAGE)
    done = python(BLOCK + USE, tmp_path)
    assert (done.returncode, done.stdout) == (0, "2"), done.stderr


def test_the_command_says_where_it_does_not_run(tmp_path):
    code = "import app.__main__\nsys.platform = 'win32'\napp.__main__.main(['in', 'out'])"
    done = python(BLOCK + code, tmp_path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: python -m app runs on Linux alone, this is ")
    assert done.stderr.count("\n") == 1


def test_the_package_is_imported_without_its_libraries(tmp_path):
    heavy = "numpy", "cv2", "onnxruntime", "tifffile", "app.segmenter"
    code = (
        "import sys, app, app.__main__;"
        "sys.argv = ['app', '--help']\n"
        "try: app.__main__.main()\n"
        f"finally: print([name for name in {heavy} if name in sys.modules])"
    )
    done = python(code, tmp_path)
    assert done.stdout.endswith("[]\n") and done.returncode == 0, done.stderr


def test_what_the_package_offers():
    assert {"Segmentation", "Segmenter", "__version__"} <= set(dir(app))
    for name in app.__all__:
        assert getattr(app, name) is not None
    with pytest.raises(AttributeError, match="module 'app' has no attribute 'Segmentor'"):
        _ = app.Segmentor
