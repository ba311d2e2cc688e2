"""Make tests/app/toy_weights: two tiny graphs with the inputs and outputs of the real ones.

    python -m tests.app.make_toy_graphs tests/app/toy_weights

The detector says the same three boxes of any image: two good ones and one below the threshold.
The segmenter says that a pixel is the cell where the mean of its channels is above 127.5.
"""

import dataclasses
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from app.settings import FILE_NAME, Graph, Method, Resources, Settings

BOXES = np.array([[[4, 4, 20, 16], [24, 8, 40, 30], [2, 20, 12, 30]]], np.float32)
SCORES = np.array([[0.9, 0.8, 0.3]], np.float32)
METHOD = Method(
    low_percentile=1.0,
    high_percentile=99.0,
    window=64,
    stride=32,
    max_magnification=1.0,
    magnifications=[],
    look_pixels=0,
    look_score_weight=2.5,
    look_enlarged_penalty=0.1,
    look_few_penalty=0.17,
    sure_score=0.7,
    sure_size=24.0,
    channel_margin=0.7,
    limits_margin=0.12,
    large_margin=0.2,
    usual_diameter=40.0,
    min_look_score=0.55,
    min_look_size=12.0,
    max_look_growth=7.0,
    pad_value=114,
    granularity=32,
    min_content=0.02,
    seam_margin=2.0,
    score_threshold=0.5,
    nms_iou=0.65,
    crop_size=16,
    crop_margin=0.0,
    mask_threshold=0.5,
    min_area=1,
    min_visible=0.0,
)
RESOURCES = Resources(
    window_batch=1, crop_batch=4, gpu_memory=1_000_000_000, working_memory=200_000_000
)


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    graphs: dict[str, Any] = {}
    for role, model in (("detector", detector()), ("segmenter", segmenter())):
        onnx.checker.check_model(model)
        data = model.SerializeToString()
        (folder / f"{role}.onnx").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        graphs[role] = {"cpu": Graph(file=f"{role}.onnx", sha256=digest, trained="not at all")}
    settings = Settings(method=METHOD, resources=RESOURCES, **graphs)
    text = json.dumps(dataclasses.asdict(settings), indent=2) + "\n"
    (folder / FILE_NAME).write_text(text)


def detector() -> onnx.ModelProto:
    constants = [
        helper.make_node("Constant", [], ["boxes"], value=numpy_helper.from_array(BOXES)),
        helper.make_node("Constant", [], ["scores"], value=numpy_helper.from_array(SCORES)),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", "h", "w", 3])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, array.shape)
        for name, array in (("boxes", BOXES), ("scores", SCORES))
    ]
    return _model("detector", constants, [images], outputs)


def segmenter() -> onnx.ModelProto:
    axes = numpy_helper.from_array(np.array([3]), "axes")
    middle = numpy_helper.from_array(np.array(127.5, np.float32), "middle")
    nodes = [
        helper.make_node("Cast", ["crops"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["floats", "axes"], ["mean"], keepdims=0),
        helper.make_node("Greater", ["mean", "middle"], ["bright"]),
        helper.make_node("Cast", ["bright"], ["masks"], to=TensorProto.FLOAT),
    ]
    crops = helper.make_tensor_value_info("crops", TensorProto.UINT8, ["b", "s", "s", 3])
    masks = helper.make_tensor_value_info("masks", TensorProto.FLOAT, ["b", "s", "s"])
    return _model("segmenter", nodes, [crops], [masks], [axes, middle])


def _model(name, nodes, inputs, outputs, constants=()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
