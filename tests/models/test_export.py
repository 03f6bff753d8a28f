"""Export to ONNX: parity and refusals."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import onnx
import onnxruntime
import pyarrow.parquet as pq
import pytest

from fer_pipeline.config.params import ExportParams
from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import softmax
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.models import quantization
from fer_pipeline.models.export import check_parity, export, to_onnx
from fer_pipeline.training.networks.zoo import build


@pytest.mark.parametrize("evaluation", ["evaluation", "evaluation_tta"])
def test_the_exported_model_answers_like_the_report(evaluation: str, evaluated: Path, tmp_path: Path) -> None:
    lineage = {"run_id": "none"}
    written, check = export(
        evaluated / "processed", evaluated / "model", evaluated / evaluation, tmp_path / "export", ExportParams(), lineage
    )
    info = ModelInfo.read(tmp_path / "export")
    assert (written, check) == (info, None)
    assert info.synthetic
    assert info.lineage == lineage
    assert (tmp_path / "export" / "model.keras").read_bytes() == (evaluated / "model" / "model.keras").read_bytes()
    session = onnxruntime.InferenceSession(str(tmp_path / "export" / "model.onnx"), providers=["CPUExecutionProvider"])
    faces = ProcessedTable.open(evaluated / "processed").split("test")
    (logits,) = session.run(["logits"], {"image": faces.images})
    table = pq.read_table(evaluated / evaluation / "predictions.parquet")
    assert table["id"].to_pylist() == faces.ids.tolist()
    reported = np.stack([table[name].to_numpy() for name in EMOTIONS], axis=1)
    np.testing.assert_allclose(softmax(logits, info.temperature), reported, atol=1e-4)
    assert (logits.argmax(axis=1) == faces.labels).mean() == pytest.approx(info.metrics["accuracy"])


@pytest.mark.parametrize(
    "network", ["mini_xception", "transfer:MobileNetV3Small", pytest.param("se_resnet18", marks=pytest.mark.slow)]
)
def test_every_network_exports_with_equal_logits(network: str, tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    model = build(TrainParams(network=network))
    to_onnx(model, tmp_path / "m.onnx")
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    assert check_parity(model, tmp_path / "m.onnx", images, 1e-4) <= 1e-4


def test_an_onnx_model_that_answers_otherwise_is_refused(tmp_path: Path) -> None:
    keras.utils.set_random_seed(0)
    to_onnx(build(TrainParams(network="mini_xception")), tmp_path / "m.onnx")
    other = build(TrainParams(network="mini_xception"))
    images = np.random.default_rng(0).integers(0, 256, (3, 48, 48, 1), dtype=np.uint8)
    with pytest.raises(ModelError, match="differ by"):
        check_parity(other, tmp_path / "m.onnx", images, 1e-4)


def test_export_needs_the_tensorflow_backend(evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Export on another backend says which one it needs."""
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(ToolUnavailableError, match="KERAS_BACKEND=tensorflow"):
        export(evaluated / "processed", evaluated / "model", evaluated / "evaluation", tmp_path / "export", ExportParams(), {})


@pytest.mark.parametrize(("min_agreement", "precision"), [(0.5, "int8"), (1.01, "float32")])
def test_the_export_computes_in_8_bits_where_answers_stay(
    min_agreement: float, precision: str, evaluated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantization, "MIN_AGREEMENT", min_agreement)
    monkeypatch.setattr(quantization, "MAX_ACCURACY_LOSS", 0.5)
    params = ExportParams(precision="int8")
    info, check = export(
        evaluated / "processed", evaluated / "model", evaluated / "evaluation", tmp_path / "export", params, {"run_id": "none"}
    )
    assert check is not None
    assert (info.precision, check.holds) == (precision, precision == "int8")
    assert ModelInfo.read(tmp_path / "export") == info
    stored = onnx.load(str(tmp_path / "export" / "model.onnx")).graph.initializer
    assert any(tensor.data_type == onnx.TensorProto.INT8 for tensor in stored) is check.holds
