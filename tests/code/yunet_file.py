"""An ONNX file with the inputs and outputs of YuNet, whose faces are bright cells of 32 x 32 pixels."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDES = (8, 16, 32)
_BRIGHT = 200.0


def write_yunet(path: Path) -> Path:
    """A detector for OpenCV's FaceDetectorYN: it scores a cell of stride 32 by its mean brightness, others by 0."""
    nodes, weights, outputs = [], [], []
    for stride in STRIDES:
        nodes.append(
            helper.make_node(
                "AveragePool", ["input"], [f"mean_{stride}"], kernel_shape=[stride] * 2, strides=[stride] * 2
            )
        )
        slope = 1 / 50 if stride == 32 else 0.0
        score = np.full((1, 3, 1, 1), slope / 3), np.full(1, -slope * _BRIGHT)
        # Centre of the box in cells from the cell's corner, logarithm of its sides in cells.
        box = np.zeros((4, 3, 1, 1)), np.array([0.5, 0.5, 0.0, 0.0])
        points = np.zeros((10, 3, 1, 1)), np.full(10, 0.5)
        for name, (weight, bias) in {"cls": score, "obj": score, "bbox": box, "kps": points}.items():
            name, channels = f"{name}_{stride}", len(bias)
            shape = np.array([1, -1, channels], dtype=np.int64)
            weights += [
                numpy_helper.from_array(weight.astype(np.float32), f"{name}_weight"),
                numpy_helper.from_array(bias.astype(np.float32), f"{name}_bias"),
                numpy_helper.from_array(shape, f"{name}_shape"),
            ]
            nodes += [
                helper.make_node("Conv", [f"mean_{stride}", f"{name}_weight", f"{name}_bias"], [f"{name}_map"]),
                helper.make_node("Transpose", [f"{name}_map"], [f"{name}_last"], perm=[0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}_last", f"{name}_shape"], [name]),
            ]
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, None, channels]))
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 3, 96, 96])
    graph = helper.make_graph(nodes, "yunet", [image], outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=7)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
