"""Read ONNX networks, and store their weights in 16 bits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.errors import ModelError

MIN_HALF_VALUES = 256
"""Tensors of fewer values stay in float32.

Biases and normalisation take few bytes and may be tiny numbers.
"""


def read_network(path: Path) -> onnx.ModelProto:
    """Read a network. Raises `ModelError` where the file is none."""
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's DecodeError has no common base with what reading raises
        raise ModelError(f"{path} cannot be read as ONNX: {error}; export the model again") from error


def read_full(path: Path) -> onnx.ModelProto:
    """Read a network, weights that `store_half` wrote as float32 again.

    Raises `ModelError` where the file is no ONNX network.
    """
    model = read_network(path)
    graph = model.graph
    halves = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in halves:
            half = halves[node.input[0]]
            values = numpy_helper.to_array(half).astype(np.float32)
            half.CopyFrom(numpy_helper.from_array(values, node.output[0]))
        else:
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)
    return model


def store_half(source: Path, target: Path) -> None:
    """Write the network of `source` with its large float32 weights stored as float16.

    A Cast to float32 follows each; everything is computed in float32 as before, and runtimes fold the casts at load. Raises
    `ModelError` where `source` is no ONNX network, or a weight is beyond the range of float16 (65,504).
    """
    model = read_network(source)
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < MIN_HALF_VALUES:
            continue
        values = numpy_helper.to_array(tensor)
        largest = np.abs(values).max()
        if not largest <= np.finfo(np.float16).max:
            raise ModelError(f"weight {tensor.name} of {source} goes up to {largest:g}, beyond float16: publish it in float32")
        name = tensor.name
        stored = numpy_helper.from_array(values.astype(np.float16), f"{name}.float16")
        graph.initializer[index].CopyFrom(stored)
        casts.append(helper.make_node("Cast", [stored.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])  # before what uses them: nodes must be in order
    onnx.checker.check_model(model)
    onnx.save(model, str(target))
