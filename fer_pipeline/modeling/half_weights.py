"""An ONNX network with its weights stored in 16 bits: half the file, the same computation in float32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.errors import ModelError

SMALLEST = 256
"""Tensors of fewer values stay in float32: biases and normalisation weigh little, in bytes, and may be tiny numbers."""


def store_half(source: Path, target: Path) -> None:
    """Writes the network of `source` with its large float32 initialisers as float16, each with a Cast to float32 in front.

    Everything is computed in float32 as before; runtimes fold the casts when they load it. Raises `ModelError` where `source` is
    no ONNX network, or a weight is beyond the range of float16 (65,504).
    """
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's DecodeError has no common base with what reading raises
        raise ModelError(f"{source} cannot be read as ONNX: {error}; export the model again") from error
    graph = model.graph
    casts = []
    for index, tensor in enumerate(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < SMALLEST:
            continue
        values = numpy_helper.to_array(tensor)
        largest = np.abs(values).max()
        if not largest <= np.finfo(np.float16).max:
            raise ModelError(f"weight {tensor.name} of {source} goes up to {largest:g}, beyond float16: ship float32")
        name = tensor.name
        stored = numpy_helper.from_array(values.astype(np.float16), f"{name}.float16")
        graph.initializer[index].CopyFrom(stored)
        casts.append(helper.make_node("Cast", [stored.name], [name], name=f"{name}.cast", to=TensorProto.FLOAT))
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*casts, *nodes])  # before what uses them: nodes must be in order
    onnx.checker.check_model(model)
    onnx.save(model, str(target))
