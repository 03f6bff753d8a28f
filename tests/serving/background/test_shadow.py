from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.imaging import ImageSpec, encode_png
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import MODEL_FILE, ModelInfo
from fer_pipeline.monitoring import shadow_log
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.shadow import Shadow, open_shadow
from fer_pipeline.serving.settings import ServiceSettings
from fer_pipeline.workspace import layout
from fer_pipeline.workspace.files import replaced_folder
from tests.serving.asking import app_with, state_of

HAPPY = encode_png(np.full((48, 48), 125, np.uint8))  # happy to the brightness model and to its mirrored copy
ANGRY = encode_png(np.full((48, 48), 20, np.uint8))  # angry, and neutral to the mirrored copy


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def place(model: Path, folder: Path) -> None:
    with replaced_folder(folder) as aside:
        shutil.copytree(model, aside, dirs_exist_ok=True)


def service_of(model: Path, shadow: Shadow | None) -> TestClient:
    state = state_of(Recognizer.load(model))
    state.shadow = shadow
    return TestClient(app_with(state))


def ask(client: TestClient, picture: bytes = HAPPY) -> dict[str, Any]:
    answer = client.post("/predict?framing=face", files={"picture": picture})
    assert answer.status_code == 200
    values: dict[str, Any] = answer.json()
    return values


def shadowing(folder: Path, share: float = 1.0, **settings: Any) -> Shadow:
    """A shadow that has looked at its folder."""
    shadow = Shadow(folder, share, None, look_seconds=0.05, **settings)
    wait_for(lambda: shadow._seen is not None)
    if (folder / MODEL_FILE).exists():
        failed = counted("fer_shadow_models_total", outcome="failed")
        wait_for(lambda: shadow._challenger is not None or counted("fer_shadow_models_total", outcome="failed") > failed)
    return shadow


def test_the_challenger_is_compared_in_a_log(
    brightness_model: Path, mirrored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The challenger judges the same faces and is compared in a log without pictures."""
    settings = ServiceSettings(shadow_model=mirrored, shadow_share=1, shadow_log=tmp_path / "log")
    loaded = counted("fer_shadow_models_total", outcome="loaded")
    shadow = open_shadow(settings)
    assert shadow is not None
    wait_for(lambda: counted("fer_shadow_models_total", outcome="loaded") == loaded + 1)
    before = {outcome: counted("fer_shadow_faces_total", outcome=outcome) for outcome in ("agreed", "disagreed")}
    client = service_of(brightness_model, shadow)
    assert client.get("/model").json()["logs_predictions"] is True  # the page tells the people who use it
    for picture in (HAPPY, HAPPY, HAPPY, ANGRY):
        assert ask(client, picture)["model"]["network"] == "brightness"
    wait_for(lambda: counted("fer_shadow_faces_total", outcome="disagreed") == before["disagreed"] + 1)
    wait_for(lambda: counted("fer_shadow_faces_total", outcome="agreed") == before["agreed"] + 3)
    shadow.close()
    now = datetime.now(UTC)
    window = shadow_log.read(tmp_path / "log", now - timedelta(minutes=1), now + timedelta(minutes=1))
    assert (window.champion, window.challenger) == tuple(
        f"{info.network} {info.fingerprint}" for info in map(ModelInfo.read, (brightness_model, mirrored))
    )
    assert window.pairs.champion.argmax(axis=1).tolist() == [3, 3, 3, 0]
    assert window.pairs.challenger.argmax(axis=1).tolist() == [3, 3, 3, 6]
    assert window.pairs.champion[:3] == pytest.approx(window.pairs.challenger[:3], abs=1e-6)
    assert (window.pairs.challenger_milliseconds > 0).all()

    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(app, ["shadow", "report", "--log", "log", "--at-least", "0.9"], env={"COLUMNS": "120"})
    assert shown.exit_code == 3, shown.output
    assert "the models agree on 75.0 % [30.1, 95.4] of 4 faces" in shown.output
    assert "neutral 1" in shown.output
    values = json.loads(CliRunner().invoke(app, ["shadow", "report", "--log", "log", "--json"]).output)
    assert (values["faces"], values["agreed"], values["classes"][0]["instead"]) == (4, 3, {"neutral": 1})


def test_requests_are_sampled_by_the_share(brightness_model: Path, mirrored: Path) -> None:
    shadow = shadowing(mirrored, 0.25, draw=itertools.cycle([0.0, 0.25, 0.5, 0.9]).__next__)
    before = counted("fer_shadow_faces_total", outcome="agreed")
    client = service_of(brightness_model, shadow)
    for _ in range(8):
        ask(client)
    wait_for(lambda: shadow._waiting.empty())
    shadow.close()
    assert counted("fer_shadow_faces_total", outcome="agreed") == before + 2


def test_a_detected_face_is_judged_as_the_champion_saw_it(brightness_model: Path, drawn_face: Any, tmp_path: Path) -> None:
    place(brightness_model, tmp_path / "challenger")  # the same network with another temperature: it must answer alike
    info = ModelInfo.read(brightness_model)
    dataclasses.replace(info, temperature=2.0001, network="twin").write(tmp_path / "challenger")
    shadow = shadowing(tmp_path / "challenger")
    name = "fer_shadow_difference"
    before = [counted(f"{name}_{part}") for part in ("sum", "count")]
    answer = service_of(brightness_model, shadow).post("/predict", files={"picture": encode_png(drawn_face)}).json()
    assert len(answer["faces"]) == 1
    wait_for(lambda: counted(f"{name}_count") == before[1] + 1)
    shadow.close()
    assert counted(f"{name}_sum") - before[0] < 1e-4


def test_a_slow_challenger_delays_no_answer(brightness_model: Path, mirrored: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow challenger delays no answer and faces are dropped."""
    shadow = shadowing(mirrored, most_waiting=2)
    busy = threading.Event()
    assert shadow._challenger is not None
    monkeypatch.setattr(shadow._challenger, "probabilities", lambda _: busy.wait(20))
    dropped = counted("fer_shadow_faces_total", outcome="dropped")
    client = service_of(brightness_model, shadow)
    ask(client)
    start = time.monotonic()
    for _ in range(20):
        ask(client)
    assert time.monotonic() - start < 10  # the challenger alone takes 20 s for one face
    assert counted("fer_shadow_faces_total", outcome="dropped") >= dropped + 18
    busy.set()
    shadow.close()


def test_a_broken_challenger_is_left_out(
    brightness_model: Path, mirrored: Path, broken: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A broken challenger is left out until a working one comes."""
    folder = tmp_path / "challenger"
    shadow = shadowing(folder)
    client = service_of(brightness_model, shadow)
    failed = counted("fer_shadow_models_total", outcome="failed")
    with caplog.at_level(logging.WARNING):
        ask(client)  # nothing is there yet
        place(broken, folder)
        wait_for(lambda: counted("fer_shadow_models_total", outcome="failed") == failed + 1)
        ask(client)
        (folder / MODEL_FILE).write_bytes(b"half a file")
        wait_for(lambda: counted("fer_shadow_models_total", outcome="failed") == failed + 2)
        assert "the challenger does not work and is left out" in caplog.text
        assert shadow._challenger is None
        before = counted("fer_shadow_faces_total", outcome="agreed")
        place(mirrored, folder)
        wait_for(lambda: shadow._challenger is not None)
        ask(client)
        wait_for(lambda: counted("fer_shadow_faces_total", outcome="agreed") == before + 1)
        shutil.rmtree(folder)
        wait_for(lambda: shadow._challenger is None)
        ask(client)
    shadow.close()
    assert counted("fer_shadow_faces_total", outcome="agreed") == before + 1


def test_a_challenger_that_fails_on_faces_is_counted(
    brightness_model: Path, mirrored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A challenger that fails on faces is counted and named once."""
    shadow = shadowing(mirrored)
    assert shadow._challenger is not None

    def fail(_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(shadow._challenger, "probabilities", fail)
    failed = counted("fer_shadow_faces_total", outcome="failed")
    client = service_of(brightness_model, shadow)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            ask(client)
        wait_for(lambda: counted("fer_shadow_faces_total", outcome="failed") == failed + 3)
    shadow.close()
    assert caplog.text.count("fails on a face: out of memory") == 1


def test_a_full_disk_is_logged_once(mirrored: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A full disk is logged once and the challenger loaded when there is room."""
    failed = counted("fer_shadow_models_total", outcome="failed")
    with caplog.at_level(logging.ERROR), monkeypatch.context() as full:
        full.setattr(LoadedModel, "read", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        shadow = Shadow(mirrored, 0.1, None, look_seconds=0.02)
        wait_for(lambda: counted("fer_shadow_models_total", outcome="failed") >= failed + 3)
    wait_for(lambda: shadow._challenger is not None)
    shadow.close()
    assert caplog.text.count("No space left") == 1


def test_a_challenger_of_another_framing_is_not_compared(
    brightness_model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place(brightness_model, tmp_path / "wide")
    dataclasses.replace(ModelInfo.read(brightness_model), image_spec=ImageSpec(crop_scale=1.2)).write(tmp_path / "wide")
    shadow = shadowing(tmp_path / "wide")
    failed = counted("fer_shadow_faces_total", outcome="failed")
    with caplog.at_level(logging.ERROR):
        ask(service_of(brightness_model, shadow))
        wait_for(lambda: counted("fer_shadow_faces_total", outcome="failed") == failed + 1)
    shadow.close()
    assert "expects faces cut out at scale 1.2, the champion's are cut out at 1.0" in caplog.text


def test_a_promoted_challenger_is_not_compared(brightness_model: Path) -> None:
    """A challenger that became champion is not compared with itself."""
    shadow = shadowing(brightness_model)
    before = [counted("fer_shadow_faces_total", outcome=outcome) for outcome in ("agreed", "disagreed", "failed")]
    ask(service_of(brightness_model, shadow))
    wait_for(lambda: shadow._waiting.empty())
    shadow.close()
    assert [counted("fer_shadow_faces_total", outcome=outcome) for outcome in ("agreed", "disagreed", "failed")] == before


def test_without_the_setting_there_is_no_shadow(brightness_model: Path) -> None:
    assert open_shadow(ServiceSettings()) is None
    ask(service_of(brightness_model, None))


def test_a_version_is_placed_and_removed_by_command(registered: Path) -> None:
    runner = CliRunner()
    done = runner.invoke(app, ["shadow", "start"])
    assert done.exit_code == 0, done.output
    assert "fer version 3 lies in data/challenger" in done.output
    runner.invoke(app, ["shadow", "start", "1"])
    assert EmotionClassifier.load(registered / layout.CHALLENGER).info.temperature == 1.0
    assert runner.invoke(app, ["shadow", "stop"]).exit_code == 0
    assert not (registered / layout.CHALLENGER).exists()
    assert "no challenger" in str(runner.invoke(app, ["shadow", "stop"]).exception)
    assert "no log of shadow mode" in str(runner.invoke(app, ["shadow", "report"]).exception)


def test_fer_serve_runs_the_challenger_in_all_workers(
    brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fer serve runs the challenger of the workspace in as many workers as asked for."""
    from fer_pipeline.promotion import champion

    names = ("FER_MODEL_DIR", "FER_RELOAD_SECONDS", "FER_SHADOW_MODEL", "FER_SHADOW_LOG", "FER_SHADOW_SHARE")
    for name in (*names, "BENTOML_CONFIG_OPTIONS"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    place(brightness_model, tmp_path / "data" / "bundle")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(champion, "champion_tag", lambda _: "fer:v1-abc")
    monkeypatch.setattr(os, "execv", lambda *_: None)
    assert CliRunner().invoke(app, ["serve"]).exit_code == 0
    assert not any(os.environ.get(name) for name in names[2:])
    assert "BENTOML_CONFIG_OPTIONS" not in os.environ
    assert CliRunner().invoke(app, ["serve", "--shadow", "0.5", "--workers", "2"]).exit_code == 0
    assert os.environ["BENTOML_CONFIG_OPTIONS"] == "services.fer.workers=2"
    settings = ServiceSettings()
    assert (settings.shadow_model, settings.shadow_share) == (tmp_path / "data" / "challenger", 0.5)
    assert os.environ["FER_SHADOW_LOG"] == str(tmp_path / "data" / "shadow")
