"""MLflow's artifacts and DVC's data on an S3-compatible store: a server of its own, spoken to as a team would."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers import free_port, served

from fer_pipeline.datasets import versioning
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.modeling import registry, tracking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

pytest.importorskip("moto.server", reason="needs the development packages")
boto3 = pytest.importorskip("boto3", reason="needs the extra: uv sync --extra s3")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A client of a running store with the buckets mlflow and dvc, whose address and keys are in the environment."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    for name, value in {
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "only-for-this-test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
        "MLFLOW_S3_ENDPOINT_URL": address,
    }.items():
        monkeypatch.setenv(name, value)
    command = [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)]
    with served(command, f"{address}/moto-api/", tmp_path / "store.log", {}):
        client = boto3.client("s3")
        for name in ("mlflow", "dvc"):
            client.create_bucket(Bucket=name)
        yield client


def keys(store: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in store.list_objects_v2(Bucket=bucket).get("Contents", [])]


def test_an_mlflow_server_keeps_models_in_the_store(
    store: Any, brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    port = free_port()
    address = f"http://127.0.0.1:{port}"
    environment = {
        "MLFLOW_ARTIFACTS_DESTINATION": "s3://mlflow",
        "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{tmp_path}/server.db",
        "MLFLOW_SERVER_ALLOWED_HOSTS": f"127.0.0.1:{port}",
    }
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    with served(command, f"{address}/health", tmp_path / "mlflow.log", environment):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        monkeypatch.chdir(tmp_path)
        mlflow.set_tracking_uri(address)
        info = ModelInfo.read(brightness_model)
        version, new = registry.register(brightness_model, info, "fer", tracking.ensure_run(None, "brightness", {}), {})
        assert new
        registry.set_alias(version, registry.CHAMPION)
        champion = registry.by_alias("fer", registry.CHAMPION)
        assert champion is not None
        down = registry.download_export(champion, tmp_path / "down")
    assert any(key.endswith("export/model.onnx") for key in keys(store, "mlflow"))
    assert (down / "model.onnx").read_bytes() == (brightness_model / "model.onnx").read_bytes()
    assert not (tmp_path / "mlruns").exists()


def test_a_data_version_goes_to_the_store_and_comes_back(store: Any, tmp_path: Path) -> None:
    pytest.importorskip("dvc_s3", reason="needs the extra: uv sync --extra s3")
    root = tmp_path / "workspace"
    root.mkdir()

    def dvc(*arguments: str) -> None:
        subprocess.run([sys.executable, "-m", "dvc", *arguments], cwd=root, check=True, capture_output=True, text=True)

    subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
    dvc("init", "--quiet")
    dvc("remote", "add", "--default", "objects", "s3://dvc/fer")
    source = tmp_path / "faces.csv"
    source.write_text("emotion,pixels,Usage\n0,1 2 3,Training\n")
    version = versioning.add_source(root, [source])
    dvc("push")
    assert any(key.endswith(version[2:]) for key in keys(store, "dvc"))

    for path in (root / "data" / "source").iterdir():
        path.unlink()
    (root / "data" / "source").rmdir()
    subprocess.run(["rm", "-r", str(root / ".dvc" / "cache")], check=True)
    dvc("pull")
    assert (root / "data" / "source" / "faces.csv").read_text() == source.read_text()
