"""Networks to serve from a folder of versions: a SavedModel of TensorFlow, and a CNN over images in ONNX."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

IMAGE = (1, 224, 224, 3)
_SAVED_MODEL = """
import sys
import tensorflow as tf

random = tf.random.Generator.from_seed(0)
sizes = (28, 128, 64, 1)
weights = [tf.Variable(random.normal((a, b)) / a**0.5) for a, b in zip(sizes, sizes[1:])]


class Net(tf.Module):
    def __init__(self):
        self.weights = weights

    @tf.function(input_signature=[tf.TensorSpec((None, 28), tf.float32, name="features")])
    def __call__(self, features):
        for weight in self.weights[:-1]:
            features = tf.nn.relu(features @ weight)
        return {"probability": tf.sigmoid(features @ self.weights[-1])}


net = Net()
tf.saved_model.save(net, sys.argv[1], signatures=net.__call__)
"""


def write_saved_model(versions: Path) -> Path:
    """FOLDER/1 with a multi-layer perceptron of 28-128-64-1; TensorFlow runs in a process of its own."""
    if not versions.exists():
        making = versions.with_name(f"{versions.name}-making")
        subprocess.run([sys.executable, "-c", _SAVED_MODEL, str(making / "1")], check=True, capture_output=True)
        making.rename(versions)
    return versions


def write_image_model(versions: Path) -> Path:
    """FOLDER/1/model.onnx: 17 convolutions over images of 224 × 224 × 3, as much work as a ResNet of 18 layers."""
    from onnx import TensorProto, helper, numpy_helper, save

    random, before = np.random.default_rng(0), IMAGE[-1]
    layers = [(64, 2), *((width, stride) for width in (64, 128, 256, 512) for stride in (2, 1, 1, 1))]
    nodes, weights = [helper.make_node("Transpose", ["image"], ["0"], perm=[0, 3, 1, 2])], []
    for layer, (after, stride) in enumerate(layers):
        weight = random.normal(size=(after, before, 3, 3)).astype(np.float32) / (9 * before) ** 0.5
        weights.append(numpy_helper.from_array(weight, f"w{layer}"))
        inputs = [f"{layer}", f"w{layer}"]
        nodes.append(helper.make_node("Conv", inputs, [f"c{layer}"], strides=[stride, stride], pads=[1] * 4))
        nodes.append(helper.make_node("Relu", [f"c{layer}"], [f"{layer + 1}"]))
        before = after
    nodes += [
        helper.make_node("GlobalAveragePool", [f"{len(layers)}"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["out"]),
    ]
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["rows", *IMAGE[1:]])]
    outputs = [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["rows", before])]
    graph = helper.make_graph(nodes, "cnn", inputs, outputs, weights)
    (versions / "1").mkdir(parents=True, exist_ok=True)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    save(model, versions / "1" / "model.onnx")
    return versions
