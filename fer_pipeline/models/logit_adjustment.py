"""Logit adjustment: offsets by class that make a trained network fairer to rare classes, without training it again.

Menon et al. 2021, arXiv 2007.07314, section 4.2 (post-hoc).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from fer_pipeline.errors import ModelError
from fer_pipeline.metrics import classification

STRENGTHS = tuple(step / 20 for step in range(21))
"""Values that are tried: 0 changes nothing, 1 answers as if all classes were equally frequent."""

OUTPUT = "logits"


@dataclass(frozen=True)
class Adjustment:
    """Offsets (7,) of the calibrated logits, -`strength` times the logarithm of each class's share of the training rows."""

    strength: float
    offsets: npt.NDArray[np.float64]


def choose_adjustment(
    logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64], shares: npt.NDArray[np.float64], max_loss: float
) -> Adjustment:
    """The strength with the best macro-F1 on these rows among those that lose at most `max_loss` of the accuracy.

    `logits` (N, 7) are divided by the temperature already; `shares` (7,) are those of the classes in training, above 0. Choose
    on validation.
    """
    before = _figures(logits, labels)[0]
    best = (-1.0, 0.0)
    for strength in STRENGTHS:
        accuracy, macro_f1 = _figures(logits - strength * np.log(shares), labels)
        if accuracy >= before - max_loss and macro_f1 > best[0]:
            best = (macro_f1, strength)
    return Adjustment(best[1], -best[1] * np.log(shares))


def store_adjusted(source: Path, temperature: float, adjustment: Adjustment, target: Path) -> None:
    """Writes the ONNX network of `source` with logits / temperature + offsets as its logits.

    Raises `ModelError` where `source` is no network of this project.
    """
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's DecodeError has no common base with what reading raises
        raise ModelError(f"{source} cannot be read as ONNX: {error}; export the model again") from error
    graph = model.graph
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == OUTPUT:
                    names[index] = "unadjusted"
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.full((), 1 / temperature, np.float32), "adjustment/scale"),
            numpy_helper.from_array(adjustment.offsets.astype(np.float32), "adjustment/offsets"),
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


def _figures(logits: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> tuple[float, float]:
    table = classification.confusion(labels, logits.argmax(axis=1))
    return float(classification.accuracy(table)), float(classification.macro_f1(table))
