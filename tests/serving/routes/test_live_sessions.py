from __future__ import annotations

import base64
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.routes.frame_queue import MAX_UNANSWERED
from fer_pipeline.serving.routes.live import PROTOCOL, TOKEN_PREFIX
from fer_pipeline.serving.sandbox.image_decoder import InProcessDecoder, SlowImageError
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import app_of, error_of
from tests.serving.cameras import EMPTY, answer_to, held_recognizer


@pytest.mark.attack
def test_who_sends_without_end_and_reads_nothing_is_cut_off(brightness_model: Path) -> None:
    recognizer, detector = held_recognizer(brightness_model)
    with TestClient(app_of(recognizer, Limits(max_camera_fps=1000))).websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_bytes(EMPTY)
        assert detector.asked.acquire(timeout=20)
        for _ in range(MAX_UNANSWERED + 1):
            socket.send_bytes(EMPTY)
        time.sleep(0.3)
        detector.sign.set()
        codes = [socket.receive_json().get("code") for _ in range(1)]
    assert codes == ["flooded"]


def test_one_session_too_many_is_refused(brightness_model: Path) -> None:
    """One session too many is refused and pictures are served on."""
    client = TestClient(app_of(Recognizer.load(brightness_model), Limits(max_cameras=1)))
    with client.websocket_connect("/live") as first:
        first.receive_json()
        with client.websocket_connect("/live") as second:
            assert second.receive_json()["code"] == "overloaded"
            assert second.receive()["code"] == 4429
        assert client.post("/predict", files={"picture": EMPTY}).status_code == 200
    with client.websocket_connect("/live") as third:
        assert third.receive_json()["type"] == "model"


def test_a_camera_at_work_leaves_the_threads_of_pictures_alone(brightness_model: Path) -> None:
    recognizer, detector = held_recognizer(brightness_model)
    client = TestClient(app_of(recognizer, Limits(parallel=1)))
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_bytes(EMPTY)
        assert detector.asked.acquire(timeout=20)
        assert client.post("/predict?framing=face", files={"picture": EMPTY}).status_code == 200
        detector.sign.set()
        socket.receive_json()


def test_a_session_without_frames_is_closed(brightness_model: Path) -> None:
    client = TestClient(app_of(Recognizer.load(brightness_model), Limits(max_camera_idle_seconds=1)))
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        assert socket.receive_json()["code"] == "idle"


@pytest.mark.parametrize("text", ["hello", '{"type": "start", "temporal": "hmm"}'])
def test_messages_that_are_no_frames_do_not_hold_a_place(brightness_model: Path, text: str) -> None:
    client = TestClient(app_of(Recognizer.load(brightness_model), Limits(max_camera_idle_seconds=1)))
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        for _ in range(8):
            socket.send_text(text)
            if socket.receive_json().get("code") == "idle":
                return
            time.sleep(0.2)
    pytest.fail("1.6 s without a frame, and the session goes on")


@pytest.mark.parametrize("slow", ["decoding", "recognition"])
@pytest.mark.attack
def test_a_frame_of_too_much_work_ends_its_session(brightness_model: Path, slow: str) -> None:
    """It holds the thread of all cameras no longer than its limit; the next session is answered."""
    recognizer, detector = held_recognizer(brightness_model)
    app = app_of(recognizer, Limits(max_cameras=1, max_camera_frame_seconds=1))
    asked: list[float | None] = []

    class SlowDecoder(InProcessDecoder):
        def decode(self, data: bytes, *arguments: Any) -> UInt8Array:
            asked.append(arguments[-1])
            if len(asked) == 1 and slow == "decoding":
                raise SlowImageError("as the pool says after that time")
            return super().decode(data, *arguments)

    app.state.service.decoder = SlowDecoder()
    client = TestClient(app)
    threading.Timer(1.2 if slow == "recognition" else 0.0, detector.sign.set).start()
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        answer = answer_to(socket, EMPTY)
        assert (answer["type"], answer["code"]) == ("error", "too_slow")
        assert "more than 1 s of work" in answer["message"]
        assert socket.receive()["code"] == 4408
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        assert answer_to(socket, EMPTY)["type"] == "faces"
    assert asked == [1, 1]


def test_an_internal_error_ends_the_session(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours ends the session by name and frees its place."""
    client = TestClient(app_of(Recognizer.load(brightness_model), Limits(max_cameras=1)))

    def failing_session() -> None:
        with client.websocket_connect("/live") as socket:
            socket.receive_json()
            answer = answer_to(socket, EMPTY)
            assert (answer["code"], "division" in answer["message"]) == ("internal_error", False)
            assert socket.receive()["code"] == 1011

    with monkeypatch.context() as patch:
        patch.setattr("fer_pipeline.serving.routes.live.FaceStream.update", lambda *_: 1 / 0)
        with pytest.raises(ExceptionGroup):  # what the server's log gets
            failing_session()
    with client.websocket_connect("/live") as socket:
        assert socket.receive_json()["type"] == "model"


def test_a_dropped_session_frees_its_place(brightness_model: Path) -> None:
    client = TestClient(app_of(Recognizer.load(brightness_model), Limits(max_cameras=1)))
    for _ in range(3):
        with client.websocket_connect("/live") as socket:
            assert socket.receive_json()["type"] == "model"
            socket.send_bytes(EMPTY)
    assert metrics.CAMERAS._value.get() == 0


@pytest.mark.parametrize(
    ("headers", "protocols", "served"),
    [
        ({}, [], False),
        ({"authorization": "Bearer wrong"}, [], False),
        ({"authorization": "Bearer s3cret"}, [], True),
        ({}, [PROTOCOL, TOKEN_PREFIX + base64.urlsafe_b64encode(b"s3cret").decode().rstrip("=")], True),
        ({}, [PROTOCOL, TOKEN_PREFIX + "%%%"], False),
    ],
)
@pytest.mark.attack
def test_a_token_is_asked_for(brightness_model: Path, headers: dict[str, str], protocols: list[str], served: bool) -> None:
    """Without the token no session is opened: the handshake is answered 401."""
    client = TestClient(app_of(Recognizer.load(brightness_model), token="s3cret"))
    session = client.websocket_connect("/live", subprotocols=protocols, headers=headers)
    if served:
        with session as socket:
            assert socket.receive_json()["type"] == "model"
            assert socket.accepted_subprotocol == (PROTOCOL if protocols else None)
    else:
        with pytest.raises(WebSocketDenialResponse) as refused, session:
            pass
        assert (refused.value.status_code, error_of(refused.value)) == (401, "unauthorized")


@pytest.mark.attack
def test_pages_of_other_sites_may_not_use_the_camera_service(client: TestClient) -> None:
    """The handshake is answered 403."""
    for headers in ({"origin": "https://elsewhere.example"}, {"origin": "http://["}, {"sec-fetch-site": "cross-site"}):
        with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/live", headers=headers):
            pass
        assert (refused.value.status_code, error_of(refused.value)) == (403, "forbidden_origin")
    with client.websocket_connect("/live", headers={"origin": "http://testserver"}) as socket:
        assert socket.receive_json()["type"] == "model"
