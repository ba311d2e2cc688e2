"""Where a graph's time goes, by the kind of its operators; of several graphs side by side.

    python -m benchmarks.layers GRAPH [GRAPH ...] [--threads 2] [--runs 20]

GRAPH is a detector or a segmenter of some weights, .onnx or .ort. Each is run on the CPU, on a
window of 1536 x 1536 pixels or on 64 crops, with ONNX Runtime's profiler, in turn with the others.
The table has milliseconds of a run, medians of all runs, for each kind of operator as the runtime
has it, after it has fused what it can.
"""

import argparse
import json
import statistics
import tempfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import onnxruntime

from app.processor import available_threads
from training.report.markdown import head, line

SHAPES = {"images": (1, 1536, 1536, 3), "crops": (64, 64, 64, 3)}  # by the name of the input
_SMALL = 0.01  # of the longest time: what takes less is put together


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("graphs", type=Path, nargs="+", metavar="GRAPH")
    parser.add_argument("--threads", type=int, default=available_threads())
    parser.add_argument("--runs", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sessions = [
            open_profiled(graph, Path(folder) / str(n), options.threads)
            for n, graph in enumerate(options.graphs)
        ]
        for _ in range(options.runs + 1):
            for session in sessions:
                name = session.get_inputs()[0].name
                session.run(None, {name: np.full(SHAPES[name], 114, np.uint8)})
        times = [milliseconds(session.end_profiling(), options.runs) for session in sessions]
    kinds = sorted({kind for found in times for kind in found}, key=lambda k: -times[0][k])
    longest = max(sum(found.values()) for found in times)
    large = [k for k in kinds if max(found[k] for found in times) >= _SMALL * longest]
    print(head(["operators", *options.graphs]))
    for kind in large:
        print(line([kind, *(f"{found[kind]:.1f}" for found in times)]))
    others = [sum(value for kind, value in f.items() if kind not in large) for f in times]
    print(line(["others", *(f"{value:.1f}" for value in others)]))
    print(line(["all", *(f"{sum(found.values()):.1f}" for found in times)]))


def open_profiled(graph: Path, prefix: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(prefix)
    return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])


def milliseconds(profile: str, runs: int) -> defaultdict[str, float]:
    """Of a run, by kind of operator; the first run, which allocates, does not count."""
    taken: dict[tuple[str, str], list[int]] = {}
    for event in json.loads(Path(profile).read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            node = event["args"]["op_name"], event["name"]
            taken.setdefault(node, []).append(event["dur"])
    of_kind: defaultdict[str, float] = defaultdict(float)
    for (kind, _), durations in taken.items():
        of_kind[kind] += statistics.median(durations[-runs:]) / 1000
    return of_kind


if __name__ == "__main__":
    main()
