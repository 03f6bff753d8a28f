"""Edit ONNX networks: ensembles and logit offsets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import compose, helper, numpy_helper

from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.tta import OFFSETS, SHIFT
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.models.onnx_files import read_network

INPUT, OUTPUT = "image", "logits"

MIN_PROBABILITY = 1e-7
"""Mean probability below which the logarithm is cut off."""


def merge(members: Sequence[tuple[Path, float]], target: Path, tta_views: int = 1) -> None:
    """Write the ensemble of ONNX files, each with its temperature, as one file.

    Its logits are the logarithm of mean(softmax(logits / temperature)), so that their softmax is that mean (uniform weights;
    Lakshminarayanan et al. 2017, arXiv 1612.01474). The logits of a member are its mean over the first `tta_views` views of
    `evaluation.tta`. Raises `ModelError` where a file is no network of this project.
    """
    nodes, constants = _view_nodes(tta_views)
    means = []
    opsets: dict[str, int] = {}
    for index, (file, temperature) in enumerate(members):
        prefix = f"member{index}/"
        model = read_network(file)
        names = [value.name for value in model.graph.input], [value.name for value in model.graph.output]
        if names != ([INPUT], [OUTPUT]):
            raise ModelError(f"{file} maps {names[0]} to {names[1]}, expected {INPUT} to {OUTPUT}: export the model again")
        for entry in model.opset_import:
            if opsets.setdefault(entry.domain, entry.version) != entry.version:
                raise ModelError(
                    f"{file} has ONNX opset {entry.version}, an earlier member {opsets[entry.domain]}: export both with this code"
                )
        graph = compose.add_prefix(model, prefix).graph
        nodes += [helper.make_node("Identity", ["views"], [prefix + INPUT], name=f"{prefix}input"), *graph.node]
        constants += [*graph.initializer, numpy_helper.from_array(np.full((), temperature, np.float32), f"{prefix}temperature")]
        nodes += [
            helper.make_node("Reshape", [prefix + OUTPUT, "by view"], [f"seen{index}"], name=f"seen{index}"),
            helper.make_node("ReduceMean", [f"seen{index}"], [f"answer{index}"], name=f"answer{index}", axes=[0], keepdims=0),
            helper.make_node("Div", [f"answer{index}", f"{prefix}temperature"], [f"{prefix}scaled"], name=f"{prefix}scale"),
            helper.make_node("Softmax", [f"{prefix}scaled"], [f"{prefix}probabilities"], name=f"{prefix}softmax", axis=1),
        ]
        means.append(f"{prefix}probabilities")
        last = model
    constants.append(numpy_helper.from_array(np.full((), MIN_PROBABILITY, np.float32), "smallest"))
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


def add_logit_offsets(source: Path, temperature: float, offsets: npt.NDArray[np.float64], target: Path) -> None:
    """Write an ONNX network with logits / temperature + offsets (7,) as its logits.

    Raises `ModelError` where `source` is no ONNX network.
    """
    model = read_network(source)
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == OUTPUT:
                    names[index] = "unadjusted"
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.full((), 1 / temperature, np.float32), "adjustment/scale"),
            numpy_helper.from_array(offsets.astype(np.float32), "adjustment/offsets"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node("Mul", ["unadjusted", "adjustment/scale"], ["adjustment/scaled"], name="adjustment/scaled"),
            helper.make_node("Add", ["adjustment/scaled", "adjustment/offsets"], [OUTPUT], name="adjustment/shifted"),
        ]
    )
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def _view_nodes(count: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Build the nodes from the input to "views" (count * N, 48, 48, 1), view by view."""
    corners = np.array([[SHIFT + down, SHIFT + right] for down, right in OFFSETS])
    constants = {
        "padding": [0, SHIFT, SHIFT, 0, 0, SHIFT, SHIFT, 0],
        "rows and columns": [1, 2],
        "columns": [2],
        "last": [-1],
        "before the first": [np.iinfo(np.int64).min],
        "backwards": [-1],
        "by view": [count, -1, len(EMOTIONS)],
    }
    nodes = [helper.make_node("Pad", [INPUT, "padding"], ["padded"], name="pad", mode="edge")]
    made = []
    for index in range(count):
        shift, mirrored = divmod(index, 2)
        moved, name = f"moved{shift}", f"view{index}"
        if mirrored:
            backwards = [moved, "last", "before the first", "columns", "backwards"]
            nodes.append(helper.make_node("Slice", backwards, [name], name=name))
        else:
            constants |= {f"{moved} from": corners[shift], f"{moved} to": corners[shift] + FACE_SIZE}
            cut = ["padded", f"{moved} from", f"{moved} to", "rows and columns"]
            nodes.append(helper.make_node("Slice", cut, [moved], name=name))
        made.append(name if mirrored else moved)
    nodes.append(helper.make_node("Concat", made, ["views"], name="views", axis=0))
    return nodes, [numpy_helper.from_array(np.asarray(values, np.int64), name) for name, values in constants.items()]
