from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import encode_png
from fer_pipeline.serving.service import BUNDLE, Fer

BLOCKED_IMPORT = """
import sys

BLOCKED = {"tensorflow", "keras", "pyspark", "mlflow", "prefect", "dvc", "great_expectations", "pandas", "pyarrow", "sklearn"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import fer_pipeline.serving.service
"""


def test_the_service_imports_without_the_packages_of_training() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED_IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_onnxruntime_sends_and_keeps_no_usage_data(tmp_path: Path) -> None:
    homes = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    script = "import fer_pipeline.serving.service"
    subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, **homes}, cwd=Path(__file__).parents[2])
    assert not [path for path in tmp_path.rglob("*") if ".ses" in path.name or "Microsoft" in path.name]


def test_the_bundle_lies_in_data_of_the_repository() -> None:
    assert Path(__file__).parents[2] / "data" / "bundle" == BUNDLE


def test_our_routes_and_those_of_bentoml_answer_side_by_side(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_MODEL_DIR", str(brightness_model))
    monkeypatch.setenv("FER_MAX_UPLOAD_MEGABYTES", "1")
    picture = encode_png(np.full((48, 48), 125, np.uint8))
    with TestClient(Fer.to_asgi()) as client:
        for path in ("/livez", "/readyz"):
            assert client.get(path).status_code == 200
        assert "Facial expressions" in client.get("/").text
        answer = client.post("/predict?framing=face", files={"picture": picture})
        assert (answer.status_code, answer.json()["faces"][0]["emotion"]) == (200, "happy")
        assert client.post("/predict", files={"picture": picture + bytes(1_000_000)}).status_code == 413
        assert "/predict" in client.get("/docs.json").json()["paths"]
        with client.websocket_connect("/live") as socket:
            assert socket.receive_json()["type"] == "model"


def test_a_service_without_model_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelError, match="no exported model"):
        Fer()
