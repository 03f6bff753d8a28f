"""Several exported networks as one: an ONNX file whose probabilities are the mean of the members' calibrated ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import compose, helper, numpy_helper

from fer_pipeline.errors import ModelError

INPUT, OUTPUT = "image", "logits"

SMALLEST = 1e-7
"""Mean probability below which the logarithm is cut off."""


def merge(members: Sequence[tuple[Path, float]], target: Path) -> None:
    """Writes the ensemble of ONNX files, each with its temperature, as an ONNX file with the same input and output.

    Its logits are the logarithm of mean(softmax(logits / temperature)), so that their softmax is that mean (uniform weights;
    Lakshminarayanan et al. 2017, arXiv 1612.01474). Raises `ModelError` where a file is no network of this project.
    """
    nodes, constants, means = [], [], []
    opsets: dict[str, int] = {}
    for index, (file, temperature) in enumerate(members):
        prefix = f"member{index}/"
        try:
            model = onnx.load(str(file))
        except Exception as error:  # protobuf's DecodeError has no common base with what reading raises
            raise ModelError(f"{file} cannot be read as ONNX: {error}; export the model again") from error
        names = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
        if names != ([INPUT], [OUTPUT]):
            raise ModelError(f"{file} maps {names[0]} to {names[1]}, expected {INPUT} to {OUTPUT}: export the model again")
        for entry in model.opset_import:
            if opsets.setdefault(entry.domain, entry.version) != entry.version:
                raise ModelError(
                    f"{file} has ONNX opset {entry.version}, an earlier member {opsets[entry.domain]}: export both with this code"
                )
        graph = compose.add_prefix(model, prefix).graph
        nodes += [helper.make_node("Identity", [INPUT], [prefix + INPUT], name=f"{prefix}input"), *graph.node]
        constants += [*graph.initializer, numpy_helper.from_array(np.full((), temperature, np.float32), f"{prefix}temperature")]
        nodes += [
            helper.make_node("Div", [prefix + OUTPUT, f"{prefix}temperature"], [f"{prefix}scaled"], name=f"{prefix}scale"),
            helper.make_node("Softmax", [f"{prefix}scaled"], [f"{prefix}probabilities"], name=f"{prefix}softmax", axis=1),
        ]
        means.append(f"{prefix}probabilities")
        last = model
    constants.append(numpy_helper.from_array(np.full((), SMALLEST, np.float32), "smallest"))
    nodes += [
        helper.make_node("Mean", means, ["mean"], name="mean"),
        helper.make_node("Max", ["mean", "smallest"], ["positive"], name="positive"),
        helper.make_node("Log", ["positive"], [OUTPUT], name="log"),
    ]
    merged = helper.make_model(
        helper.make_graph(nodes, "ensemble", list(last.graph.input), list(last.graph.output), constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()],
        ir_version=last.ir_version,
    )
    onnx.checker.check_model(merged)
    onnx.save(merged, str(target))
