from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from fer_pipeline.imaging import encode_png
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring import log_files
from fer_pipeline.serving.background.prediction_logger import open_prediction_logger
from fer_pipeline.serving.settings import ServiceSettings
from fer_pipeline.serving.state import ServiceState
from tests.serving.asking import app_with, state_of

PICTURE = encode_png(np.full((48, 48), 125, np.uint8))


def client_of(model: Path, settings: ServiceSettings) -> tuple[TestClient, ServiceState]:
    state = state_of(Recognizer.load(model))
    state.prediction_logger = open_prediction_logger(settings)
    return TestClient(app_with(state)), state


def test_each_face_of_the_pictures_is_logged_without_its_picture(brightness_model: Path, tmp_path: Path) -> None:
    client, state = client_of(brightness_model, ServiceSettings(prediction_log=tmp_path))
    answer = client.post("/predict?framing=face", files={"picture": PICTURE}).json()
    client.post("/predict/batch?framing=face", files=[("pictures", PICTURE)] * 2)
    client.post("/predict", files={"picture": PICTURE})  # no face is found in it
    assert state.prediction_logger is not None
    assert client.get("/model").json()["logs_predictions"] is True  # the page tells the people who use it
    before = REGISTRY.get_sample_value("fer_logged_predictions_total", {"outcome": "written"}) or 0.0
    state.prediction_logger.close()
    assert REGISTRY.get_sample_value("fer_logged_predictions_total", {"outcome": "written"}) == before + 3
    now = datetime.now(UTC)
    info = ModelInfo.read(brightness_model)
    window = log_files.read(tmp_path, now - timedelta(hours=1), now + timedelta(hours=1), info.fingerprint)
    assert window.observations.brightness.tolist() == [125.0] * 3
    probabilities = [answer["faces"][0]["probabilities"][emotion] for emotion in EMOTIONS]
    assert window.observations.probabilities[0] == pytest.approx(probabilities, abs=0.00006)
    (file,) = tmp_path.rglob("*.parquet")
    assert pq.read_schema(file).names == log_files.SCHEMA.names


def test_without_the_setting_nothing_is_logged(brightness_model: Path) -> None:
    client, state = client_of(brightness_model, ServiceSettings())
    assert state.prediction_logger is None
    assert client.get("/model").json()["logs_predictions"] is False
    assert client.post("/predict?framing=face", files={"picture": PICTURE}).status_code == 200
