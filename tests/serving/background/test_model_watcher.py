from __future__ import annotations

import logging
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import encode_png
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.model_watcher import ModelWatcher
from fer_pipeline.serving.settings import Limits
from tests.serving.watching import ADMIT_ALL, FLAT_FACE, Service, place


@pytest.fixture
def service(bundle: Path, tmp_path: Path) -> Iterator[Service]:
    service = Service(bundle, tmp_path / "videos", ADMIT_ALL, None)
    yield service
    service.watcher.close()
    service.jobs.close()


def reloads(outcome: str) -> float:
    return REGISTRY.get_sample_value("fer_model_reloads_total", {"outcome": outcome}) or 0


def test_a_new_champion_takes_over_under_load(
    service: Service, bundle: Path, mirrored: Path, broken: Path, brightness_model: Path
) -> None:
    """A new champion takes over under load without a failed request."""
    dark = encode_png(np.full((48, 48), 20, np.uint8))
    answers: list[tuple[int, str, str]] = []
    stop = threading.Event()

    def ask(client: TestClient) -> None:
        while not stop.is_set():
            answer = client.post("/predict?framing=face", files={"picture": dark})
            values = answer.json()
            answers.append((answer.status_code, values["model"]["network"], values["faces"][0]["top_emotion"]))

    with TestClient(service.app, raise_server_exceptions=False) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        service.watcher.watch(0.05)
        for turn in range(2):
            failed = reloads("failed")
            place(mirrored, bundle)
            service.wait_for("mirrored")
            place(broken, bundle)
            while reloads("failed") == failed:
                time.sleep(0.02)
            assert service.network() == "mirrored", turn
            place(brightness_model, bundle)
            service.wait_for("brightness")
        stop.set()
        for thread in threads:
            thread.join()
    seen = Counter(answers)
    assert set(seen) == {(200, "brightness", "angry"), (200, "mirrored", "neutral")}  # each names the model that gave it


def test_a_failing_model_is_tried_once_until_it_changes(
    service: Service, bundle: Path, broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that fails its trial is logged counted and not tried again until it changes."""
    failed = reloads("failed")
    service.watcher.watch(0.02)
    with caplog.at_level(logging.ERROR):
        place(broken, bundle)
        while reloads("failed") == failed:
            time.sleep(0.02)
        time.sleep(0.3)
    assert reloads("failed") == failed + 1
    assert "the new model does not work" in caplog.text
    assert "expected probabilities" in caplog.text
    assert service.network() == "brightness"


def test_a_model_is_tried_again_after_a_passing_fault(
    service: Service, bundle: Path, mirrored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    place(mirrored, bundle)
    failed = reloads("failed")
    with monkeypatch.context() as full, caplog.at_level(logging.ERROR):
        full.setattr(LoadedModel, "read", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        with pytest.raises(OSError, match="No space"):
            service.watcher.reload()
        assert reloads("failed") == failed + 1
        service.watcher.watch(0.05)
        while reloads("failed") < failed + 4:
            time.sleep(0.02)
    service.wait_for("mirrored")
    assert caplog.text.count("No space left") == 1  # though it was tried thrice


def test_a_damaged_or_missing_model_leaves_the_old_one(service: Service, bundle: Path) -> None:
    (bundle / MODEL_FILE).write_bytes(b"half a file")
    with pytest.raises(ModelError, match=r"bundle.*changed or damaged"):
        service.watcher.reload()
    shutil.rmtree(bundle)
    with pytest.raises(ModelError, match="no exported model"):
        service.watcher.reload()
    assert service.network() == "brightness"


def test_a_model_of_drawn_faces_takes_over_from_no_other(service: Service, bundle: Path, mirrored: Path) -> None:
    replace(ModelInfo.read(mirrored), synthetic=True).write(mirrored)
    place(mirrored, bundle)
    with pytest.raises(ModelError, match=r"trained on drawn faces.*fer serve --model champion"):
        service.watcher.reload()
    assert service.network() == "brightness"


def test_a_model_takes_over_from_the_pretrained_one(brightness_model: Path, mirrored: Path, tmp_path: Path) -> None:
    """As `fer serve` without a champion does it: the folder that is watched is not there yet."""
    taken: list[LoadedModel] = []
    watcher = ModelWatcher(tmp_path / "bundle", LoadedModel.read(brightness_model), taken.append)
    watcher.watch(0.02)
    time.sleep(0.1)
    assert taken == []
    place(mirrored, tmp_path / "bundle")
    end = time.monotonic() + 30
    while not taken and time.monotonic() < end:
        time.sleep(0.02)
    watcher.close()
    assert [model.recognizer.info.network for model in taken] == ["mirrored"]


def test_the_same_model_written_anew_is_no_change(service: Service, bundle: Path, brightness_model: Path) -> None:
    before = service.state.recognizer
    place(brightness_model, bundle)
    assert service.watcher.reload() is False
    assert service.state.recognizer is before


def test_a_request_that_began_with_a_model_ends_with_it(service: Service, bundle: Path, mirrored: Path) -> None:
    old = service.state.recognizer
    judge = old.recognize_face

    def swap_meanwhile(image: Any) -> Any:
        place(mirrored, bundle)
        assert service.watcher.reload()
        return judge(image)

    old.recognize_face = swap_meanwhile  # type: ignore[method-assign]
    with TestClient(service.app) as client:
        first, second = (client.post("/predict?framing=face", files={"picture": FLAT_FACE}).json() for _ in range(2))
    assert (first["model"]["network"], second["model"]["network"]) == ("brightness", "mirrored")


def test_a_camera_is_told_when_another_model_takes_over(service: Service, bundle: Path, mirrored: Path) -> None:
    import cv2

    frame = cv2.imencode(".jpg", np.full((60, 80, 3), 125, np.uint8))[1].tobytes()
    with TestClient(service.app) as client, client.websocket_connect("/live") as socket:
        assert socket.receive_json()["model"]["network"] == "brightness"
        socket.send_bytes(frame)
        assert socket.receive_json()["type"] == "faces"
        place(mirrored, bundle)
        assert service.watcher.reload()
        socket.send_bytes(frame)
        assert socket.receive_json()["model"]["network"] == "mirrored"
        assert socket.receive_json() | {"time": 0, "milliseconds": 0} == {
            "frame": 1, "type": "faces", "faces": [], "width": 80, "height": 60, "time": 0, "milliseconds": 0, "neutral": None,
        }  # fmt: skip


def test_a_video_is_analysed_by_the_model_it_came_to(service: Service, bundle: Path, mirrored: Path) -> None:
    """A video is analysed by the model that its answer names whatever lies in the folder by then."""
    with TestClient(service.app) as client:
        place(mirrored, bundle)
        assert service.watcher.reload()
        shutil.rmtree(bundle)
        sent = client.post("/video", content=b"\0\0\0\x18ftypmp42" + bytes(100)).json()
        assert sent["model"]["network"] == "mirrored"
        end = time.monotonic() + 60
        while (state := client.get(f"/video/{sent['job']}").json())["state"] in ("queued", "running"):
            assert time.monotonic() < end
            time.sleep(0.1)
    assert state["error"]["code"] == "undecodable_video"  # no fault of the model, whose folder is gone
    assert state["model"]["network"] == "mirrored"


def test_an_operator_with_the_token_tells_the_service_to_reload(
    bundle: Path, mirrored: Path, broken: Path, tmp_path: Path
) -> None:
    service = Service(bundle, tmp_path / "videos", Limits(), "secret")
    known = {"Authorization": "Bearer secret"}
    with TestClient(service.app) as client:
        assert client.post("/admin/reload").status_code == 401
        assert client.post("/admin/reload", headers=known).json()["changed"] is False
        place(mirrored, bundle)
        answer = client.post("/admin/reload", headers=known)
        assert (answer.status_code, answer.json()["changed"], answer.json()["model"]["network"]) == (200, True, "mirrored")
        place(broken, bundle)
        answer = client.post("/admin/reload", headers=known)
        assert (answer.status_code, answer.json()["error"]["code"]) == (422, "model_not_loaded")
        assert client.get("/model").json()["network"] == "mirrored"


def test_a_service_without_a_token_is_not_told_to_reload(service: Service) -> None:
    answer = TestClient(service.app).post("/admin/reload")
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "no_token_set")


@pytest.mark.parametrize(("arguments", "seconds"), [([], "5.0"), (["--follow", "0.5"], "0.5"), (["--follow", "0"], None)])
def test_fer_serve_follows_the_bundle_of_the_workspace(
    arguments: list[str], seconds: str | None, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app
    from fer_pipeline.promotion import champion

    for name in ("FER_MODEL_DIR", "FER_RELOAD_SECONDS"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.chdir(bundle.parents[1])
    monkeypatch.setattr(champion, "champion_tag", lambda _: "fer:v1-abc")
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: became.append(words))
    done = CliRunner().invoke(app, ["serve", *arguments])
    assert done.exit_code == 0, done.output
    assert became[0][1:3] == ["serve", "fer:v1-abc"]
    assert os.environ.get("FER_RELOAD_SECONDS") == seconds
    assert os.environ.get("FER_MODEL_DIR") == (str(bundle) if seconds else None)
