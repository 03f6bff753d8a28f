from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.live import own_neutral
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.routes.frame_queue import MAX_STARTS
from fer_pipeline.serving.settings import Limits, ServiceSettings
from tests.serving.asking import app_of, closed_sandbox
from tests.serving.cameras import EMPTY, answer_to, held_recognizer, jpeg


@pytest.fixture
def client(brightness_model: Path) -> TestClient:
    return TestClient(app_of(Recognizer.load(brightness_model)))


def test_a_session_begins_with_the_model_and_its_limits(client: TestClient) -> None:
    with client.websocket_connect("/live") as socket:
        first = socket.receive_json()
    assert first["type"] == "model"
    assert first["model"]["lineage"] == {"run_id": "abc"}
    assert "Not for use in workplaces" in first["model"]["notice"]
    assert first["limits"]["frames_per_second"] == Limits().max_camera_fps


def test_each_frame_is_answered_with_its_tracked_faces(client: TestClient, drawn_face: UInt8Array) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        answers = [answer_to(socket, jpeg(drawn_face)) for _ in range(3)]
        nobody = answer_to(socket, EMPTY)
    assert [answer["frame"] for answer in answers] == [0, 1, 2]
    assert [answer["faces"][0]["track"] for answer in answers] == [1, 1, 1]
    assert (answers[0]["width"], answers[0]["height"]) == (640, 480)
    assert answers[0]["faces"][0]["box"]["x"] == pytest.approx(237, abs=12)
    assert sum(answers[2]["faces"][0]["smoothed"].values()) == pytest.approx(1, abs=0.0004)  # rounded
    assert answers[0]["time"] <= answers[1]["time"] <= answers[2]["time"]
    assert (nobody["type"], nobody["width"]) == ("faces", 80)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"", "invalid_image_frame"),
        (b"hello", "invalid_image_frame"),
        (encode_png(np.zeros((48, 48), np.uint8)), "invalid_image_frame"),
        (EMPTY[:100], "invalid_image_frame"),
        (jpeg(np.zeros((1500, 1500, 3), np.uint8)), "invalid_image_frame"),
        (EMPTY + bytes(600_000), "message_too_large"),
    ],
)
def test_a_bad_frame_is_answered_by_name_and_the_session_goes_on(client: TestClient, frame: bytes, code: str) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        answer = answer_to(socket, frame)
        assert (answer["type"], answer["code"], answer["frame"]) == ("error", code, 0)
        assert answer_to(socket, EMPTY)["type"] == "faces"


def test_text_is_answered_by_name(client: TestClient) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_text("hello")
        assert socket.receive_json()["code"] == "invalid_message"


@pytest.mark.parametrize(("way", "steps"), [("smooth", True), ("hmm", True), ("none", False)])
def test_the_start_message_chooses_the_temporal_mode(client: TestClient, drawn_face: UInt8Array, way: str, steps: bool) -> None:
    """The first frame shows another emotion than those after it, which only a face without memory forgets at once."""
    dark = np.asarray(0.3 * drawn_face, np.uint8)
    with client.websocket_connect("/live") as socket:
        assert socket.receive_json()["temporal"] == "hmm"
        socket.send_json({"type": "start", "temporal": way})
        assert socket.receive_json() == {"type": "started", "temporal": way}
        answers = [answer_to(socket, jpeg(image))["faces"][0] for image in (drawn_face, dark)]
        socket.send_json({"type": "start", "temporal": "none"})  # too late
        assert socket.receive_json()["code"] == "invalid_message"
    assert [answer["track"] for answer in answers] == [1, 1]
    assert answers[0]["top_emotion"] != answers[1]["top_emotion"]
    joined = max(abs(answers[1]["smoothed"][name] - p) for name, p in answers[1]["probabilities"].items())
    assert joined > 0.01 if steps else joined == 0


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"type": "start"}',
        '{"type": "start", "temporal": "magic"}',
        '{"type": "start", "temporal": ["hmm"]}',
        '{"type": "neutral"}',
        '{"type": "neutral", "action": "steal"}',
        '{"type": "neutral", "action": ["collect"]}',
        "[" * 300,
    ],
)
def test_an_unknown_start_message_is_answered(client: TestClient, text: str) -> None:
    """A start message that is not understood is answered and the session goes on."""
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_text(text)
        assert socket.receive_json()["code"] == "invalid_message"
        assert answer_to(socket, EMPTY)["type"] == "faces"


def test_the_operator_chooses_for_sessions_that_do_not(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))
    app.state.service.camera_temporal = ServiceSettings(camera_temporal="smooth").camera_temporal
    with TestClient(app).websocket_connect("/live") as socket:
        assert socket.receive_json()["temporal"] == "smooth"


def test_the_newest_frame_wins_and_all_are_answered_in_order(brightness_model: Path) -> None:
    recognizer, detector = held_recognizer(brightness_model)
    with TestClient(app_of(recognizer)).websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_bytes(EMPTY)
        assert detector.asked.acquire(timeout=20)
        for frame in (EMPTY, EMPTY, b"no picture", EMPTY):
            socket.send_bytes(frame)
        time.sleep(0.3)
        detector.sign.set()
        answers = [socket.receive_json() for _ in range(5)]
    assert [answer["frame"] for answer in answers] == [0, 1, 2, 3, 4]
    assert [answer["type"] for answer in answers] == ["faces", "skipped", "skipped", "error", "faces"]


def test_a_session_takes_and_forgets_a_neutral_face(
    client: TestClient, drawn_face: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The person is read relative to it, until it is forgotten; no other session knows of it."""
    monkeypatch.setattr(own_neutral, "COLLECT_SECONDS", 0.001)
    frame = jpeg(drawn_face)
    with client.websocket_connect("/live") as socket, client.websocket_connect("/live") as other:
        assert socket.receive_json()["type"] == other.receive_json()["type"] == "model"
        plain = answer_to(socket, frame)
        assert (plain["neutral"], plain["faces"][0]["neutral_reference"]) == (None, None)
        socket.send_json({"type": "neutral", "action": "collect"})
        assert socket.receive_json() == {"type": "neutral", "state": "collecting"}
        assert answer_to(socket, frame)["neutral"] == "collecting"
        taken = answer_to(socket, frame)
        assert (taken["frame"], taken["neutral"]) == (2, "set")
        (face,) = taken["faces"]
        assert (face["emotion"], face["neutral_reference"], face["smoothed_emotion"]) == ("neutral", "given", "neutral")
        assert answer_to(other, frame)["faces"][0]["probabilities"] == plain["faces"][0]["probabilities"]
        socket.send_json({"type": "neutral", "action": "clear"})
        assert socket.receive_json() == {"type": "neutral", "state": None}
        assert answer_to(socket, frame)["faces"][0]["probabilities"] == plain["faces"][0]["probabilities"]


def test_two_seconds_without_a_face_are_no_neutral_face(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_neutral, "COLLECT_SECONDS", 0.0)
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_json({"type": "neutral", "action": "collect"})
        socket.receive_json()
        assert answer_to(socket, EMPTY)["neutral"] is None


def test_another_model_forgets_the_neutral_face(
    brightness_model: Path, drawn_face: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_neutral, "COLLECT_SECONDS", 0.0)
    app = app_of(Recognizer.load(brightness_model))
    with TestClient(app).websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_json({"type": "neutral", "action": "collect"})
        socket.receive_json()
        assert answer_to(socket, jpeg(drawn_face))["neutral"] == "set"
        app.state.service.recognizer = Recognizer.load("fast")
        socket.send_bytes(jpeg(drawn_face))
        assert socket.receive_json()["type"] == "model"
        answer = socket.receive_json()
    assert (answer["neutral"], answer["faces"][0]["neutral_reference"]) == (None, None)


def test_start_messages_have_a_limit_of_their_own(client: TestClient) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        for _ in range(MAX_STARTS):
            socket.send_json({"type": "start", "temporal": "hmm"})
            assert socket.receive_json()["type"] == "started"
        socket.send_json({"type": "start", "temporal": "hmm"})
        assert socket.receive_json()["code"] == "flooded"


def test_a_frame_without_a_decoder_is_answered(brightness_model: Path) -> None:
    """A frame for which no decoder can be had is answered and the session goes on."""
    app = app_of(Recognizer.load(brightness_model))
    working = app.state.service.decoder
    with TestClient(app).websocket_connect("/live") as socket:
        socket.receive_json()
        app.state.service.decoder = closed_sandbox()
        assert answer_to(socket, EMPTY)["code"] == "no_decoder"
        app.state.service.decoder = working
        assert answer_to(socket, EMPTY)["type"] == "faces"


def test_frames_are_counted_by_outcome(client: TestClient) -> None:
    def counted(outcome: str) -> float:
        return metrics.CAMERA_FRAMES.labels(outcome)._value.get()

    before = counted("faces"), counted("invalid_image_frame")
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        answer_to(socket, EMPTY)
        answer_to(socket, b"x")
    assert (counted("faces"), counted("invalid_image_frame")) == (before[0] + 1, before[1] + 1)
