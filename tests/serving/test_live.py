from __future__ import annotations

import base64
import io
import threading
import time
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.testclient import WebSocketTestSession

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.http.uploads import RefusedError
from fer_pipeline.serving.routes.frame_queue import MAX_STARTS, MAX_UNANSWERED, FrameQueue
from fer_pipeline.serving.routes.live import PROTOCOL, TOKEN_PREFIX
from fer_pipeline.serving.settings import Limits, ServiceSettings
from tests.serving.asking import app_of, closed_sandbox


def jpeg(image: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


EMPTY = jpeg(np.full((60, 80, 3), 125, np.uint8))


@pytest.fixture
def client(brightness_model: Path) -> TestClient:
    return TestClient(app_of(Recognizer.load(brightness_model)))


def answer_to(socket: WebSocketTestSession, frame: bytes) -> Any:
    socket.send_bytes(frame)
    return socket.receive_json()


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
    assert answers[0]["faces"][0]["box"]["x"] == pytest.approx(217, abs=12)
    assert sum(answers[2]["faces"][0]["smoothed"].values()) == pytest.approx(1)
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
def test_the_start_message_chooses_how_emotions_are_joined_over_time(
    client: TestClient, drawn_face: UInt8Array, way: str, steps: bool
) -> None:
    """The first frame shows another emotion than those after it, which only a face without memory forgets at once."""
    dark = np.asarray(0.3 * drawn_face, np.uint8)
    with client.websocket_connect("/live") as socket:
        assert socket.receive_json()["temporal"] == "smooth"
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
        "[" * 300,
    ],
)
def test_a_start_message_that_is_not_understood_is_answered_and_the_session_goes_on(client: TestClient, text: str) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        socket.send_text(text)
        assert socket.receive_json()["code"] == "invalid_message"
        assert answer_to(socket, EMPTY)["type"] == "faces"


def test_the_operator_chooses_for_sessions_that_do_not(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))
    app.state.service.camera_temporal = ServiceSettings(camera_temporal="hmm").camera_temporal
    with TestClient(app).websocket_connect("/live") as socket:
        assert socket.receive_json()["temporal"] == "hmm"


class Held:
    """A detector that waits for a sign."""

    name = "held"

    def __init__(self) -> None:
        self.sign = threading.Event()
        self.asked = threading.Semaphore(0)

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        self.asked.release()
        assert self.sign.wait(20)
        return []


def held_recognizer(model: Path) -> tuple[Recognizer, Held]:
    detector = Held()
    return Recognizer(Recognizer.load(model).classifier, detector), detector


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


def test_more_frames_a_second_than_allowed_are_refused_and_credit_comes_back() -> None:
    now = 0.0
    inbox = FrameQueue(Limits(max_camera_fps=2), lambda: now)
    outcomes = []

    async def put() -> None:
        inbox.put(EMPTY)
        outcomes.append(((await inbox.take()).answer or {"code": "taken"})["code"])

    async def scenario() -> None:
        nonlocal now
        for _ in range(3):
            await put()
        now = 0.5
        for _ in range(2):
            await put()

    anyio.run(scenario)
    assert outcomes == ["taken", "taken", "rate_limited", "taken", "rate_limited"]


def test_at_most_one_frame_waits_however_many_come() -> None:
    inbox = FrameQueue(Limits(max_camera_fps=1000))
    for _ in range(MAX_UNANSWERED):
        inbox.put(EMPTY)
    assert sum(message.frame is not None for message in inbox._waiting) == 1
    with pytest.raises(RefusedError, match="unanswered"):
        inbox.put(EMPTY)


def test_one_session_too_many_is_refused_and_pictures_are_served_on(brightness_model: Path) -> None:
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


def test_start_messages_have_a_limit_of_their_own(client: TestClient) -> None:
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        for _ in range(MAX_STARTS):
            socket.send_json({"type": "start", "temporal": "hmm"})
            assert socket.receive_json()["type"] == "started"
        socket.send_json({"type": "start", "temporal": "hmm"})
        assert socket.receive_json()["code"] == "flooded"


def test_a_frame_for_which_no_decoder_can_be_had_is_answered_and_the_session_goes_on(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))
    working = app.state.service.decoder
    with TestClient(app).websocket_connect("/live") as socket:
        socket.receive_json()
        app.state.service.decoder = closed_sandbox()
        assert answer_to(socket, EMPTY)["code"] == "no_decoder"
        app.state.service.decoder = working
        assert answer_to(socket, EMPTY)["type"] == "faces"


def test_a_fault_of_ours_ends_the_session_by_name_and_frees_its_place(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
def test_a_token_is_asked_for(brightness_model: Path, headers: dict[str, str], protocols: list[str], served: bool) -> None:
    client = TestClient(app_of(Recognizer.load(brightness_model), token="s3cret"))
    with client.websocket_connect("/live", subprotocols=protocols, headers=headers) as socket:
        first = socket.receive_json()
        assert first.get("code", first["type"]) == ("model" if served else "unauthorized")
        assert socket.accepted_subprotocol == (PROTOCOL if protocols else None)


def test_pages_of_other_sites_may_not_use_the_camera_service(client: TestClient) -> None:
    for headers in ({"origin": "https://elsewhere.example"}, {"origin": "http://["}, {"sec-fetch-site": "cross-site"}):
        with client.websocket_connect("/live", headers=headers) as socket:
            assert socket.receive_json()["code"] == "forbidden_origin"
    with client.websocket_connect("/live", headers={"origin": "http://testserver"}) as socket:
        assert socket.receive_json()["type"] == "model"


def test_frames_are_counted_by_outcome(client: TestClient) -> None:
    def counted(outcome: str) -> float:
        return metrics.CAMERA_FRAMES.labels(outcome)._value.get()

    before = counted("faces"), counted("invalid_image_frame")
    with client.websocket_connect("/live") as socket:
        socket.receive_json()
        answer_to(socket, EMPTY)
        answer_to(socket, b"x")
    assert (counted("faces"), counted("invalid_image_frame")) == (before[0] + 1, before[1] + 1)
