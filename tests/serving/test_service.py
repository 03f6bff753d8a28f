from __future__ import annotations

import asyncio
import gc
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import encode_png
from fer_pipeline.serving.sandbox import decoder_process
from fer_pipeline.serving.service import Fer
from fer_pipeline.serving.settings import BUNDLE

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


@pytest.fixture(scope="module")
def served(brightness_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """BentoML's metrics can be made once in a process, so the tests share one service."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("BENTOML_HOME", str(tmp_path_factory.mktemp("bentoml")))
        environment.setenv("FER_MODEL_DIR", str(brightness_model))
        environment.setenv("FER_MAX_UPLOAD_MEGABYTES", "1")
        environment.setenv("FER_MAX_DECODE_SECONDS", "1")
        environment.setenv("FER_PARALLEL", "1")
        others = set(decoders())
        with TestClient(Fer.to_asgi(), raise_server_exceptions=False) as client:
            yield client
        assert set(decoders()) <= others


def decoders() -> list[psutil.Process]:
    nurseries = [child for child in psutil.Process().children() if decoder_process.__name__ in child.cmdline()]
    return [decoder for nursery in nurseries for decoder in nursery.children()]


def test_our_routes_and_those_of_bentoml_answer_side_by_side(served: TestClient) -> None:
    picture = encode_png(np.full((48, 48), 125, np.uint8))
    for path in ("/livez", "/readyz"):
        assert served.get(path).status_code == 200
    assert "Facial expressions" in served.get("/").text
    assert "Content-Security-Policy" in served.head("/").headers
    answer = served.post("/predict?framing=face", files={"picture": picture})
    assert (answer.status_code, answer.json()["faces"][0]["emotion"]) == (200, "happy")
    assert served.post("/predict", files={"picture": picture + bytes(1_000_000)}).status_code == 413
    assert "/predict" in served.get("/docs.json").json()["paths"]
    with served.websocket_connect("/live") as socket:
        assert socket.receive_json()["type"] == "model"


@pytest.mark.attack
@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/docs.json", "/metrics"])
def test_no_route_answers_to_a_foreign_host(served: TestClient, path: str) -> None:
    """Those of BentoML neither: a page may have its name lead to this machine."""
    answer = served.get(path, headers={"Host": "evil.example"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (421, "unknown_host")
    assert served.get(path, headers={"Host": "localhost"}).status_code == 200


def test_what_bentoml_refuses_is_json_too(served: TestClient) -> None:
    for method, path, status in (("GET", "/no/such/page", 404), ("POST", "/livez", 405), ("GET", "/predict", 405)):
        answer = served.request(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, "not_served")
        assert "Content-Security-Policy" in answer.headers


def test_metrics_do_not_grow_with_the_paths_that_callers_make_up(served: TestClient) -> None:
    def counted() -> float:
        label = re.escape('fer_requests_total{route="/video/{job}",status="404"}')
        found = re.search(rf"^{label} (\S+)$", served.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    before = counted()  # the counter is one for the process: other files' tests count, too
    for number in range(3):
        assert served.get(f"/video/{number:032x}").status_code == 404
        assert served.get(f"/no/such/page/{number}").status_code == 404
    assert counted() == before + 3
    told = served.get("/metrics").text
    assert f"{2:032x}" not in told
    assert "/no/such/page" not in told


def test_an_answered_request_leaves_no_timer_behind(served: TestClient) -> None:
    def timers() -> int:
        gc.collect()
        return sum(isinstance(found, asyncio.TimerHandle) for found in gc.get_objects())

    served.get("/livez")
    before = timers()
    for _ in range(50):
        assert served.get("/livez").status_code == 200
    assert timers() < before + 10


def test_a_blocked_decoder_is_refused_and_replaced(served: TestClient) -> None:
    """What blocks a decoder is refused over http and by the camera and the service goes on."""
    picture, frame = encode_png(np.full((48, 48), 125, np.uint8)), io.BytesIO()
    Image.new("L", (48, 48), 125).save(frame, "JPEG")
    assert len(decoders()) == 2
    for decoder in decoders():
        decoder.suspend()
    answer = served.post("/predict", files={"picture": picture})
    assert (answer.status_code, answer.json()["error"]["code"]) == (422, "undecodable_picture")
    assert "more than 1 s" in answer.json()["error"]["message"]
    answer = served.post("/predict?framing=face", files={"picture": picture})
    assert (answer.status_code, answer.json()["faces"][0]["emotion"]) == (200, "happy")
    with served.websocket_connect("/live") as camera:
        camera.receive_json()
        for decoder in decoders():
            decoder.suspend()
        camera.send_bytes(frame.getvalue())
        assert camera.receive_json()["code"] == "too_slow"
        assert camera.receive()["code"] == 4408
    with served.websocket_connect("/live") as camera:
        camera.receive_json()
        camera.send_bytes(frame.getvalue())
        assert camera.receive_json()["type"] == "faces"


def test_a_service_without_model_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_MODEL_DIR", str(tmp_path))
    with pytest.raises(ModelError, match="no exported model"):
        Fer()
