"""ONNX Runtime sessions: on which device they really run, and with how many threads."""

import ctypes
import logging
import math
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from itertools import accumulate, compress
from operator import and_
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from .processor import Processor, has_vnni

logger = logging.getLogger(__name__)

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "int8", "float"]
Item = TypeVar("Item")
# A graph as a function: one array in, its outputs out.
Run = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_PROVIDERS: dict[Processor, str] = {"cuda": _CUDA, "vnni": _CPU, "cpu": _CPU}
# Images differ in size, and the default would time all algorithms again for each new one; nor may
# the memory pool double itself whenever it grows.
_CUDA_OPTIONS = {
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",
}
# Seconds from one look for a signal to the next: on Windows none ends a wait, and elsewhere one
# that comes just before the wait doesn't.
_PATIENCE = 0.2
# How the runtime and CUDA word it.
_CUDA_FAILURE = re.compile(r"CUDA failure \d+: [^;]*[^; ]")
_OUT_OF_MEMORY = ("failed to allocate memory", "bad_alloc", "bad allocation", "out of memory")


class DeviceError(RuntimeError):
    """The device that was asked for can't be used."""


def candidates(device: Device, precision: Precision = "auto") -> list[Processor]:
    """What may run the graphs, best first.

    Args:
        device: ``auto`` takes CUDA where it works and the CPU elsewhere.
        precision: of the graphs: ``float``, ``int8`` (8-bit integers, which a CPU with VNNI
            instructions alone runs fast and right), or ``auto``, what suits the processor.

    Raises:
        DeviceError: there is no processor for such graphs.
    """
    if precision == "int8":
        if device == "cuda" or not has_vnni():
            what = "a GPU runs floats" if device == "cuda" else "this CPU has no VNNI instructions"
            raise DeviceError(f"precision int8: {what}; take precision auto")
        return ["vnni"]
    cpu: Processor = "vnni" if precision == "auto" and has_vnni() else "cpu"
    if device == "cpu":
        return [cpu]
    if device == "cuda":
        return ["cuda"]
    has_cuda = _CUDA in onnxruntime.get_available_providers() and _has_driver()
    return ["cuda", cpu] if has_cuda else [cpu]


def open_session(
    graph: Path, processor: Processor, threads: int, gpu_memory: int
) -> onnxruntime.InferenceSession:
    """Load a graph.

    Args:
        graph: an ONNX file.
        processor: what runs it.
        threads: of the CPU, for one operator.
        gpu_memory: bytes of a GPU that this graph may take.

    Raises:
        DeviceError: ``cuda`` was asked for, but the graph would not run there.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # A thread that waits by spinning takes a core from those that work: another image's, and those
    # of this graph where two virtual cores are one real one (python -m benchmarks.folder).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # To plan which tensor takes another one's place costs half of the time that opening takes, and
    # gains nothing, for the pool gives out again what is free (python -m benchmarks.memory).
    options.enable_mem_reuse = processor == "cuda"
    # Warnings about the graph are of no use to who runs it; errors are raised.
    options.log_severity_level = 3
    if _PROVIDERS[processor] not in onnxruntime.get_available_providers():
        raise DeviceError(
            "the installed onnxruntime can't use CUDA; install onnxruntime-gpu over it "
            "(docs/python.md)"
        )
    on_cuda = {**_CUDA_OPTIONS, "gpu_mem_limit": str(gpu_memory)}
    wanted: list[str | tuple[str, dict[str, str]]] = [
        (p, on_cuda) if p == _CUDA else p for p in dict.fromkeys((_PROVIDERS[processor], _CPU))
    ]
    try:
        # The runtime's own way of going on without CUDA prints to standard output.
        session = onnxruntime.InferenceSession(
            graph, options, providers=wanted, enable_fallback=False
        )
    except RuntimeError as error:
        if processor != "cuda":
            raise
        failure = _CUDA_FAILURE.search(str(error))
        raise _no_cuda(failure[0] if failure else str(error)) from error
    if provider(session) != _PROVIDERS[processor]:
        raise _no_cuda("its libraries, or the driver's, can't be loaded")
    return session


def _no_cuda(cause: str) -> DeviceError:
    return DeviceError(
        f"ONNX Runtime could not start CUDA ({cause}); check the driver (nvidia-smi: 580 or newer "
        "for CUDA 13), 'docker run --gpus all' and the CUDA libraries"
    )


def provider(session: onnxruntime.InferenceSession) -> str:
    """The execution provider that a session really uses, whatever was asked for."""
    return str(session.get_providers()[0])


class Network:
    """A session as a function of its only input, that raises MemoryError where memory is short.

    A signal ends a call at once: Python itself hears of one only when the session has returned, and
    a window takes seconds, while whoever stops a container waits for the image to be given up.
    Several threads may call it at once.

    Args:
        session: what it is of.
        workers: calls that run at once, whoever they are of; others wait.
        calls: those that one image has running at once. With some, what no operator shares among
            its threads is done for one beside the other.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, workers: int = 1, calls: int = 1
    ) -> None:
        self._session, self._name = session, session.get_inputs()[0].name
        self._threads = ThreadPoolExecutor(workers)
        self.calls = calls

    def __call__(self, batch: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return self.start(batch).outputs()

    def start(self, batch: NDArray[np.uint8]) -> "Call":
        """Begin a call; what calls it can do other things meanwhile."""
        options = onnxruntime.RunOptions()  # of this call alone: once ended, they stay so
        options.log_severity_level = 4  # errors are raised, and need not be printed as well
        try:
            call = self._threads.submit(self._session.run, None, {self._name: batch}, options)
            return Call(call, options)
        except KeyboardInterrupt:
            options.terminate = True
            raise


class Call:
    """A call of a ``Network`` that has begun, or waits for its turn."""

    def __init__(self, call: "Future[list[Any]]", options: onnxruntime.RunOptions) -> None:
        self._call, self._options = call, options

    def outputs(self) -> list[NDArray[np.float32]]:
        """Wait for what it gives."""
        try:
            while not wait([self._call], _PATIENCE).done:
                pass
            return self._call.result()
        except KeyboardInterrupt:
            self.stop()
            raise
        # The runtime's own exceptions have no common base.
        except Exception as error:
            if any(words in str(error).lower() for words in _OUT_OF_MEMORY):
                raise MemoryError(str(error)) from error
            raise

    def stop(self) -> None:
        """End it, if it has not ended; nobody waits for it any more."""
        self._call.cancel()
        self._options.terminate = True


class _Later:
    """A call of a plain function, in the place of a ``Call``: it is made when it is asked for."""

    def __init__(self, run: Run, batch: NDArray[np.uint8]) -> None:
        self.outputs = partial(run, batch)

    def stop(self) -> None:
        """Nothing has begun."""


def run_batches(
    run: Run, items: Sequence[Item], load: Callable[[Item], NDArray[np.uint8]], size: int
) -> Iterator[tuple[Item, tuple[NDArray[np.float32], ...]]]:
    """Run a graph on many inputs, several at once, fewer where memory is short.

    While a ``Network`` works on some inputs, the next ones are loaded, and what came of those
    before is in the hands of who asked for it.

    Args:
        run: the graph.
        items: what stands for each input.
        load: makes the input of one; only those of one shape go together.
        size: inputs that go together, at most.

    Yields:
        Each item and the outputs for it, in order.

    Raises:
        MemoryError: not even one input fits.
    """

    def load_from(start: int) -> NDArray[np.uint8]:
        batch = [load(item) for item in items[start : start + size]]
        alike = [one.shape == batch[0].shape for one in batch]
        return np.stack(list(compress(batch, accumulate(alike, and_))))

    begin: Callable[[NDArray[np.uint8]], Call | _Later] = partial(_Later, run)
    max_calls = 1
    if isinstance(run, Network):
        # One more than run at once, so that none of these waits for its input; few inputs are
        # shared by those that do.
        begin, max_calls = run.start, run.calls + 1
        size = min(size, math.ceil(len(items) / run.calls))
    calls: deque[tuple[int, int, Call | _Later]] = deque()
    done = loaded = 0
    try:
        while done < len(items):
            while loaded < len(items) and len(calls) < max_calls:
                batch = load_from(loaded)
                calls.append((loaded, loaded + len(batch), begin(batch)))
                loaded += len(batch)
            try:
                outputs = calls[0][2].outputs()
            except MemoryError:
                if size == max_calls == 1:
                    raise
                calls.popleft()
                for _, _, call in calls:
                    call.stop()
                for _, _, call in calls:
                    with suppress(Exception):
                        call.outputs()  # what it takes is free once it has ended
                calls.clear()
                max_calls, loaded = (1 if size == 1 else max_calls), done
                size = max(1, size // 2)
                logger.warning(
                    "out of memory; going on with batches of %d, %d at once", size, max_calls
                )
                continue
            start, done, _ = calls.popleft()
            yield from zip(items[start:done], zip(*outputs, strict=True), strict=True)
    finally:
        for _, _, call in calls:
            call.stop()


def _has_driver() -> bool:
    """Whether NVIDIA's driver is here; without one ONNX Runtime only tries, fails and complains."""
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True
