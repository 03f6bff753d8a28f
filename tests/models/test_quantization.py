from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.inference.classifier import open_session, session_logits
from fer_pipeline.models import quantization
from fer_pipeline.models.onnx_files import read_full, store_half
from fer_pipeline.models.quantization import QuantizationCheck, check_answers, quantize, quantize_checked

IMAGES = np.random.default_rng(0).integers(0, 256, (64, 48, 48, 1), np.uint8)
GRID = np.random.default_rng(1).integers(-64, 65, (7, 1, 16, 16)).astype(np.float32)
GRID[:, 0, 0, 0] = 64  # the largest of each channel, so that each weight is a whole number of steps


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A convolution of the picture with weights on the grid of 7 bits; its means over the picture are the logits."""
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["gray"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["gray", "weights"], ["maps"]),
        helper.make_node("ReduceMean", ["maps"], ["logits"], axes=[2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "convolution",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 48, 48, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 7])],
        [numpy_helper.from_array(GRID / 512, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "model.onnx")
    return tmp_path / "model.onnx"


def labelled(labels: np.ndarray) -> FaceDataset:
    """The pictures with labels, as a validation split."""
    n = len(labels)
    return FaceDataset(
        images=IMAGES[:n],
        labels=labels,
        ids=np.array([str(index) for index in range(n)]),
        names=np.array([""] * n),
        copy_rank=np.zeros(n, np.int32),
        in_train=np.zeros(n, np.bool_),
    )


def answers(file: Path) -> np.ndarray:
    return session_logits(open_session(file), IMAGES)


def test_weights_are_stored_in_seven_of_eight_bits(network: Path, tmp_path: Path) -> None:
    """Sums of two products then fit into 16 bits, which CPUs without VNNI need."""
    quantize(network, IMAGES, tmp_path / "int8.onnx")
    stored = [numpy_helper.to_array(tensor) for tensor in onnx.load(str(tmp_path / "int8.onnx")).graph.initializer]
    (weights,) = [values for values in stored if values.dtype == np.int8 and values.shape == GRID.shape]
    np.testing.assert_array_equal(weights, GRID)


@pytest.mark.parametrize("half", [False, True])
def test_logits_move_by_the_steps_of_the_activations(half: bool, network: Path, tmp_path: Path) -> None:
    """Float16 holds these weights exactly, so a file in 16 bits gives the same."""
    source = network
    if half:
        source = tmp_path / "half.onnx"
        store_half(network, source)
    quantize(source, IMAGES, tmp_path / "int8.onnx")
    before, after = answers(network), answers(tmp_path / "int8.onnx")
    step = np.ptp(before) / 255
    assert 0 < np.abs(before - after).max() < 40 * step
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.999


def test_domains_of_no_node_are_left_out(network: Path, tmp_path: Path) -> None:
    quantize(network, IMAGES, tmp_path / "int8.onnx")
    assert [(entry.domain, entry.version) for entry in onnx.load(str(tmp_path / "int8.onnx")).opset_import] == [("", 17)]


def test_half_weights_are_read_in_full(network: Path, tmp_path: Path) -> None:
    store_half(network, tmp_path / "half.onnx")
    full = read_full(tmp_path / "half.onnx").graph
    assert [node.op_type for node in full.node] == ["Cast", "Transpose", "Conv", "ReduceMean"]
    np.testing.assert_array_equal(numpy_helper.to_array(full.initializer[0]), GRID / 512)


def test_the_file_is_replaced_where_answers_stay(network: Path) -> None:
    before = answers(network)
    check = quantize_checked(network, IMAGES, labelled(before.argmax(axis=1)))
    assert check == QuantizationCheck(64, 1.0, 0.0)
    assert any(tensor.data_type == TensorProto.INT8 for tensor in onnx.load(str(network)).graph.initializer)
    assert [path.name for path in network.parent.iterdir()] == ["model.onnx"]


def test_the_file_stays_where_answers_change(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content, labels = network.read_bytes(), answers(network).argmax(axis=1)
    monkeypatch.setattr(quantization, "MIN_AGREEMENT", 1.01)
    check = quantize_checked(network, IMAGES, labelled(labels))
    assert not check.holds
    assert network.read_bytes() == content


@pytest.mark.parametrize(
    ("changed", "right_before", "holds"),
    [(0, False, True), (2, False, True), (3, False, False), (1, True, False)],
    ids=["none", "1 % of 200", "more than 1 %", "half a point of accuracy"],
)
def test_one_percent_of_answers_may_change(changed: int, right_before: bool, holds: bool) -> None:
    """And 0.2 points of the accuracy."""
    before = np.eye(7, dtype=np.float32)[np.zeros(200, np.int64)]
    after = before.copy()
    after[:changed] = np.eye(7, dtype=np.float32)[1]
    labels = np.full(200, 0 if right_before else 6)
    check = check_answers(before, after, labels)
    assert check.agreement == pytest.approx(1 - changed / 200)
    assert check.accuracy_change == pytest.approx(-changed / 200 if right_before else 0)
    assert check.holds is holds
    assert f"{100 - changed / 2:.2f} % of 200 validation pictures" in str(check)
