"""HOG features of faces (Dalal and Triggs 2005) as an ONNX network.

That network is their one definition: Spark's executors run it to learn from its features, and the exported baseline begins with
it. It computes what OpenCV's HOGDescriptor with the same sizes does, in another order; features differ by up to 0.001, since
OpenCV approximates the angle (by up to 0.00017 rad).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper, parser

from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import OPSET

CELL, BINS = 8, 9

_BLOCKS: Final = FACE_SIZE // CELL - 1

FEATURES: Final = _BLOCKS**2 * 4 * BINS
"""Number of features: 5x5 blocks of 2x2 cells of 8x8 pixels, 9 directions."""

LABELLED: Final = pa.schema(
    [
        pa.field("split", pa.string(), nullable=False),
        pa.field("label", pa.float64(), nullable=False),
        pa.field("features", pa.list_(pa.float32()), nullable=False),
    ]
)
"""The columns that `hog_batches` gives per row of the processed table."""

_PART = 256  # bounds the memory, however many rows a batch has

_GRAPH: Final = """
hog (uint8[N, 48, 48, 1] image) => (float[N, 900] features) {
    gray = Cast<to = 1>(image)
    face = Reshape(gray, plane)
    across = MatMul(face, right_less_left)
    down = MatMul(below_less_above, face)
    across_squared = Mul(across, across)
    down_squared = Mul(down, down)
    length_squared = Add(across_squared, down_squared)
    length = Sqrt(length_squared)
    divisor = Add(across, tiny)
    slope = Div(down, divisor)
    angle = Atan(slope)
    direction = Mul(angle, bins_per_radian)
    beside = Sub(direction, bin_centres)
    distance = Abs(beside)
    directly = Sub(one, distance)
    around = Sub(distance, bins_less_one)
    share = Max(directly, around, zero)
    votes = Mul(share, length)
    votes_of_rows = MatMul(cells, votes)
    histograms = MatMul(votes_of_rows, cells_transposed)
    blocks = Reshape(histograms, rows_and_columns)
    norm = ReduceL2<axes = [1, 3, 5]>(blocks)
    damped_norm = Add(norm, damping)
    normal = Div(blocks, damped_norm)
    clipped = Min(normal, largest)
    clipped_norm = ReduceL2<axes = [1, 3, 5]>(clipped)
    damped_clipped_norm = Add(clipped_norm, second_damping)
    normal_again = Div(clipped, damped_clipped_norm)
    features = Flatten(normal_again)
}
"""
"""Pixels vote for two bins and the cells around; blocks are normalised twice."""


def hog_logistic(weights: npt.NDArray[np.float64], intercepts: npt.NDArray[np.float64]) -> Any:
    """Build the baseline: uint8 "image" (N, 48, 48, 1) to float32 "logits" (N, 7).

    N is free.

    `weights` (7, `FEATURES`) and `intercepts` (7,) are those of a logistic regression on the features of `hog`.
    """
    model = _features()
    graph = model.graph
    graph.node.append(helper.make_node("Gemm", ["features", "weights", "intercepts"], ["logits"], transB=1))
    _add_constants(graph, {"weights": weights, "intercepts": intercepts})
    graph.output[0].CopyFrom(helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", len(EMOTIONS)]))
    onnx.checker.check_model(model, full_check=True)
    return model


def hog(images: UInt8Array) -> npt.NDArray[np.float32]:
    """Compute features float32 (N, `FEATURES`) in 0..1 of uint8 faces (N, 48, 48, 1)."""
    parts = [_session().run(None, {"image": images[start : start + _PART]})[0] for start in range(0, len(images), _PART)]
    return np.concatenate([np.zeros((0, FEATURES), np.float32), *parts])


def hog_batches(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Convert batches with split, label and image to batches of `LABELLED`."""
    for batch in batches:
        images = np.frombuffer(b"".join(batch.column("image").to_pylist()), np.uint8).reshape(-1, FACE_SIZE, FACE_SIZE, 1)
        features = pa.array(hog(images).tolist(), LABELLED.field("features").type)
        columns = [batch.column("split"), batch.column("label").cast(pa.float64()), features]
        yield pa.RecordBatch.from_arrays(columns, schema=LABELLED)


@cache
def _session() -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1  # an executor computes as many batches at a time as it has cores
    return ort.InferenceSession(_features().SerializeToString(), options, providers=["CPUExecutionProvider"])


def _features() -> Any:
    graph = parser.parse_graph(_GRAPH)
    below_less_above = np.eye(FACE_SIZE, k=1) - np.eye(FACE_SIZE, k=-1)
    below_less_above[[0, -1]] = 0  # the image goes on as in a mirror, so that both neighbours of a pixel at the edge are equal
    cells = _cells()
    numbers = {
        "right_less_left": below_less_above.T,
        "below_less_above": below_less_above,
        "tiny": 1e-12,  # gradients are whole numbers: it changes no slope, and makes 0 / 0 a 0
        "bins_per_radian": BINS / np.pi,
        # Of lines, which are in -90..90 degrees: the bins at both ends are neighbours.
        "bin_centres": np.arange(BINS).reshape(BINS, 1, 1) - (BINS // 2 - 0.5),
        "one": 1,
        "bins_less_one": BINS - 1,
        "zero": 0,
        "cells": cells,
        "cells_transposed": cells.T,
        "damping": 0.1 * 4 * BINS,
        "largest": 0.2,
        "second_damping": 1e-3,
    }
    _add_constants(graph, numbers)
    shapes = {"plane": (0, 1, FACE_SIZE, FACE_SIZE), "rows_and_columns": (0, BINS, _BLOCKS, 2, _BLOCKS, 2)}  # 0: as it is
    graph.initializer.extend(numpy_helper.from_array(np.asarray(shape, np.int64), name) for name, shape in shapes.items())
    return helper.make_model_gen_version(graph, opset_imports=[helper.make_opsetid("", OPSET)])


def _cells() -> npt.NDArray[np.float64]:
    """Compute weights (10, 48) of pixel rows, or columns, in the cells of a block.

    That is its nearness to the middle of the cell, times a Gaussian around the middle of the block.
    """
    pixels = np.arange(2 * CELL)
    gauss = np.exp(-((pixels - CELL) ** 2) / (2 * (CELL / 2) ** 2))
    both = [gauss * np.maximum(0, 1 - abs((pixels + 0.5) / CELL - 0.5 - cell)) for cell in (0, 1)]
    cells = np.zeros((2 * _BLOCKS, FACE_SIZE))
    for block in range(_BLOCKS):
        cells[2 * block : 2 * block + 2, block * CELL : (block + 2) * CELL] = both
    return cells


def _add_constants(graph: Any, constants: dict[str, Any]) -> None:
    graph.initializer.extend(numpy_helper.from_array(np.array(value, np.float32), name) for name, value in constants.items())
