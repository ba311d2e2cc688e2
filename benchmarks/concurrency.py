"""How windows and crops use the threads best: shared among those of one, or each for its own.

    python -m benchmarks.concurrency [--weights weights] [--threads N] [--runs 12]

Runs both graphs of this CPU as ``app/graphs.py`` could: each operator's work shared among threads
or not, one input at a time or several at once. Prints the seconds for a window of 1536 x 1536
pixels and for a batch of crops, the median of three rounds in turn.
"""

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.processor import available_threads
from app.session import Network, candidates, open_session
from app.settings import WEIGHTS, graph_path, load_settings
from training.report.markdown import head

ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--runs", type=int, default=12)
    options = parser.parse_args()
    settings = load_settings(options.weights)
    (processor,) = candidates("cpu")
    rng = np.random.default_rng(0)
    side, size = settings.method.window, settings.method.crop_size
    shapes = ((1, side, side, 3), (settings.resources.crop_batch, size, size, 3))
    inputs = [rng.integers(0, 256, shape, np.uint8) for shape in shapes]
    models = settings.detector, settings.segmenter
    paths = [graph_path(options.weights, model, processor) for model in models]
    print(head(["threads that share an operator", "inputs at once", "a window, s", "a batch, s"]))
    ways = sorted({(s, c) for s in (1, options.threads) for c in (1, 2, options.threads)})
    seconds: dict[tuple[int, int], list[list[float]]] = {way: [[], []] for way in ways}
    for _ in range(ROUNDS):
        for way in ways:
            for taken, path, batch in zip(seconds[way], paths, inputs, strict=True):
                shared, calls = way
                network = Network(open_session(path, processor, shared, 0), calls, calls)
                taken.append(time_calls(network, batch, calls, options.runs))
    for (shared, calls), (window, crops) in seconds.items():
        print(
            f"| {shared} | {calls} | {statistics.median(window):.3f} "
            f"| {statistics.median(crops):.4f} |"
        )


def time_calls(network: Network, batch: NDArray[np.uint8], calls: int, runs: int) -> float:
    """Seconds for each of some calls, so many at once, after those that don't count."""
    with ThreadPoolExecutor(calls) as threads:
        list(threads.map(network, [batch] * calls))
        started = time.monotonic()
        list(threads.map(network, [batch] * runs))
        return (time.monotonic() - started) / runs


if __name__ == "__main__":
    main()
