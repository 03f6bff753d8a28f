from __future__ import annotations

import sqlite3
from pathlib import Path

import mlflow
import numpy as np
import onnx
import pytest
from mlflow import MlflowClient
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.errors import EnvironmentFault, ModelError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.modeling import tracking

TAGS = {"data_version": "abc", "params_hash": "123"}


def exported(folder: Path, bias: float) -> Path:
    """An exported model whose logits are one row of constants, different for each bias."""
    folder.mkdir()
    weights = np.full((1, 7), bias, dtype=np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Cast", ["image"], ["gray"], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", ["gray"], ["mean"], axes=[1, 2], keepdims=0),
            helper.make_node("MatMul", ["mean", "weights"], ["logits"]),
        ],
        "constant",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, [None, 48, 48, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [None, 7])],
        [numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), folder / MODEL_FILE)
    ModelInfo("tiny", file_sha256(folder / MODEL_FILE), 1.0, ImageSpec(), True, "synthetic").write(folder)
    return folder


def test_a_run_keeps_flat_parameters_curves_and_files(tracking_store: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    run_id = tracking.open_training_run(memo, "compact", {"train": {"lr": 0.1, "augment": {"flip": True}}}, TAGS)
    for epoch in (1, 2):
        tracking.log_metrics(run_id, {"loss": 1 / epoch}, epoch)
    (tmp_path / "history.csv").write_text("epoch,loss\n")
    tracking.close_training_run(memo, run_id, [tmp_path / "history.csv"])
    run = MlflowClient().get_run(run_id)
    assert run.data.params == {"train.lr": "0.1", "train.augment.flip": "True"}
    assert run.info.status == "FINISHED"
    assert [point.value for point in MlflowClient().get_metric_history(run_id, "loss")] == [1.0, 0.5]
    assert [item.path for item in MlflowClient().list_artifacts(run_id, "training")] == ["training/history.csv"]
    assert not memo.exists()


def test_the_data_of_a_training_is_named_and_the_run_goes_on(tracking_store: Path, tmp_path: Path) -> None:
    run_id = tracking.open_training_run(tmp_path / "memo.json", "compact", {}, TAGS)
    tracking.log_data_set(run_id, "train", np.zeros((2, 48, 48, 1), np.uint8), np.array([0, 1]), "fer2013.csv", "abc")
    run = MlflowClient().get_run(run_id)
    assert [(used.dataset.name, used.tags[0].value) for used in run.inputs.dataset_inputs] == [("fer2013.csv-train", "train")]
    assert run.info.status == "RUNNING"


def test_a_killed_training_goes_on_in_its_run_and_another_recipe_starts_a_new_one(tracking_store: Path, tmp_path: Path) -> None:
    memo = tmp_path / "memo.json"
    first = tracking.open_training_run(memo, "compact", {"lr": 0.1}, TAGS)
    assert tracking.open_training_run(memo, "compact", {"lr": 0.1}, TAGS) == first
    assert tracking.open_training_run(memo, "compact", {"lr": 0.2}, {**TAGS, "params_hash": "456"}) != first


def test_a_run_of_another_store_is_replaced_by_one_marked_restored(tracking_store: Path) -> None:
    run_id = tracking.ensure_run("0123456789abcdef0123456789abcdef", "compact", TAGS)
    assert MlflowClient().get_run(run_id).data.tags["restored"] == "0123456789abcdef0123456789abcdef"
    assert tracking.ensure_run(run_id, "compact", TAGS) == run_id


def test_versions_carry_signature_tags_and_the_exported_folder(tracking_store: Path, tmp_path: Path) -> None:
    export = exported(tmp_path / "export", 1.0)
    info = ModelInfo.read(export)
    run_id = tracking.ensure_run(None, "tiny", TAGS)
    version, new = tracking.register(export, info, "fer", run_id, TAGS)
    assert new
    assert version.number == 1
    assert version.tags["data_version"] == "abc"
    assert tracking.by_alias("fer", tracking.CHALLENGER) == version
    assert tracking.register(export, info, "fer", run_id, TAGS) == (version, False)  # the same model is registered once
    signature = mlflow.models.get_model_info("models:/fer@challenger").signature
    assert signature.inputs.input_names() == ["image"]
    assert ModelInfo.read(tracking.download_export(version, tmp_path / "down")) == info
    logits = mlflow.pyfunc.load_model("models:/fer@challenger").predict(np.zeros((2, 48, 48, 1), np.uint8))
    assert logits["logits"].shape == (2, 7)


def test_the_champion_is_whoever_holds_the_alias(tracking_store: Path, tmp_path: Path) -> None:
    assert tracking.versions("fer") == []
    assert tracking.by_alias("fer", tracking.CHAMPION) is None
    both = []
    for number in (1, 2):
        export = exported(tmp_path / f"export{number}", float(number))
        run_id = tracking.ensure_run(None, "tiny", TAGS)
        both.append(tracking.register(export, ModelInfo.read(export), "fer", run_id, TAGS)[0])
    assert tracking.by_alias("fer", tracking.CHAMPION) is None
    for version in both:
        tracking.set_alias(version, tracking.CHAMPION)
        champion = tracking.by_alias("fer", tracking.CHAMPION)
        assert champion is not None
        assert champion.number == version.number
    assert [version.number for version in tracking.versions("fer")] == [1, 2]


def test_a_version_without_an_exported_model_is_an_error(tracking_store: Path, tmp_path: Path) -> None:
    run_id = tracking.ensure_run(None, "tiny", TAGS)
    with pytest.raises(ModelError, match="fer version 9 has no exported model"):
        tracking.download_export(tracking.Version("fer", 9, run_id, {}), tmp_path)


def test_a_locked_database_is_named_as_the_cause(tracking_store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = tracking.ensure_run(None, "tiny", TAGS)
    blocker = sqlite3.connect(tracking_store, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(EnvironmentFault, match="database is locked by another process"):
            tracking.log_metrics(run_id, {"loss": 1.0}, 1)
    finally:
        blocker.execute("ROLLBACK")
        blocker.close()
    tracking.log_metrics(run_id, {"loss": 1.0}, 1)
