from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.errors import ModelError
from fer_pipeline.models.onnx_files import store_half

INPUTS = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)


def linear(path: Path, weights: npt.NDArray[np.float32]) -> Path:
    """A network that scales a picture to 0..1 and multiplies it with the weights (2304, 7)."""
    nodes = [
        helper.make_node("Cast", ["image"], ["gray"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["gray", "scale"], ["scaled"]),
        helper.make_node("Flatten", ["scaled"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "linear",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 48, 48, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 7])],
        [numpy_helper.from_array(weights, "weights"), numpy_helper.from_array(np.array(1 / 255, np.float32), "scale")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def logits(path: Path) -> npt.NDArray[np.float32]:
    found: npt.NDArray[np.float32] = ort.InferenceSession(path).run(["logits"], {"image": INPUTS})[0]
    return found


def test_the_file_shrinks_to_half_and_answers_nearly_the_same(tmp_path: Path) -> None:
    weights = np.random.default_rng(1).normal(0, 0.05, (2304, 7)).astype(np.float32)
    source, target = linear(tmp_path / "full.onnx", weights), tmp_path / "half.onnx"
    store_half(source, target)
    assert target.stat().st_size < 0.52 * source.stat().st_size
    assert 0 < np.abs(logits(source) - logits(target)).max() < 0.01


def test_it_computes_in_float32_with_the_rounded_weights(tmp_path: Path) -> None:
    weights = np.random.default_rng(2).normal(0, 1, (2304, 7)).astype(np.float32)
    store_half(linear(tmp_path / "full.onnx", weights), tmp_path / "half.onnx")
    rounded = linear(tmp_path / "rounded.onnx", weights.astype(np.float16).astype(np.float32))
    np.testing.assert_array_equal(logits(tmp_path / "half.onnx"), logits(rounded))
    stored = {tensor.name: tensor.data_type for tensor in onnx.load(str(tmp_path / "half.onnx")).graph.initializer}
    assert stored == {"weights.float16": TensorProto.FLOAT16, "scale": TensorProto.FLOAT}  # one number is not worth a cast


@pytest.mark.parametrize("value", [70_000.0, np.inf, np.nan])
def test_a_weight_beyond_float16_is_refused(value: float, tmp_path: Path) -> None:
    weights = np.zeros((2304, 7), np.float32)
    weights[0, 0] = value
    with pytest.raises(ModelError, match="beyond float16"):
        store_half(linear(tmp_path / "full.onnx", weights), tmp_path / "half.onnx")


def test_a_file_that_is_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "full.onnx").write_bytes(b"no network")
    with pytest.raises(ModelError, match="cannot be read as ONNX"):
        store_half(tmp_path / "full.onnx", tmp_path / "half.onnx")
