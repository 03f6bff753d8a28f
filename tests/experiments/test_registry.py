from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fer_pipeline.experiments import mlflow_store, registry, runs
from fer_pipeline.experiments.exports import local_export
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256

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


def test_versions_carry_signature_tags_and_the_exported_folder(tracking_store: Path, tmp_path: Path) -> None:
    export = exported(tmp_path / "export", 1.0)
    info = ModelInfo.read(export)
    run_id = runs.ensure_run(None, "tiny", TAGS)
    version, new = registry.register(export, info, "fer", run_id, TAGS)
    assert new
    assert version.number == 1
    assert version.tags["data_version"] == "abc"
    assert registry.by_alias("fer", registry.CHALLENGER) == version
    assert registry.register(export, info, "fer", run_id, TAGS) == (version, False)  # the same model is registered once
    assert ModelInfo.read(local_export(version)) == info


def test_the_champion_is_whoever_holds_the_alias(tracking_store: Path, tmp_path: Path) -> None:
    assert registry.versions("fer") == []
    assert registry.by_alias("fer", registry.CHAMPION) is None
    both = []
    for number in (1, 2):
        export = exported(tmp_path / f"export{number}", float(number))
        run_id = runs.ensure_run(None, "tiny", TAGS)
        both.append(registry.register(export, ModelInfo.read(export), "fer", run_id, TAGS)[0])
    assert registry.by_alias("fer", registry.CHAMPION) is None
    for version in both:
        registry.set_alias(version, registry.CHAMPION)
        champion = registry.by_alias("fer", registry.CHAMPION)
        assert champion is not None
        assert champion.number == version.number
    assert [version.number for version in registry.versions("fer")] == [1, 2]


@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:////somewhere/mlflow.db", Path("/somewhere/mlflow.db")),
        ("postgresql://user:word@host/mlflow", None),
        ("http://127.0.0.1:5000", None),
        ("databricks", None),  # no URL at all
    ],
)
def test_only_a_registry_in_a_sqlite_file_has_a_place_for_a_lock(
    uri: str, file: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlflow, "get_registry_uri", lambda: uri)
    assert mlflow_store.store_file() == file


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("sqlite:///mlflow.db", None),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("https://me:secret@models.example.org/mlflow", "https://models.example.org/mlflow"),
    ],
)
def test_pages_of_a_server_are_named_without_password(uri: str, server: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version and an artifact of a run have an address where MLflow is a server."""
    monkeypatch.setattr("mlflow.get_registry_uri", lambda: uri)
    monkeypatch.setattr("mlflow.get_tracking_uri", lambda: uri)
    run = SimpleNamespace(info=SimpleNamespace(experiment_id="7"))
    monkeypatch.setattr(mlflow_store, "MlflowClient", lambda: SimpleNamespace(get_run=lambda _: run))
    version = mlflow_store.version_address(registry.Version("fer", 3, "r", {}))
    assert version == (server and f"{server}/#/models/fer/versions/3")
    page = mlflow_store.artifact_address("r", "evaluation/a report.html")
    assert page == (server and f"{server}/#/experiments/7/runs/r/artifacts/evaluation/a%20report.html")
