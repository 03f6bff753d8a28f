"""Too many requests, slow and dropped ones, and faults of our own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from starlette.requests import Request

from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.http.middleware import SECURITY_HEADERS
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import FLAT_FACE, app_of, client_of, closed_sandbox, error_of

UInt8Array = npt.NDArray[np.uint8]


class Held(Recognizer):
    """A recognizer that waits for a sign, and counts how many of its calls wait at the same time."""

    def __init__(self, recognizer: Recognizer) -> None:
        super().__init__(recognizer.classifier, recognizer.detector)
        self.sign = threading.Event()
        self.running = 0

    def recognize_face(self, image: UInt8Array) -> FaceEmotion:
        self.running += 1
        assert self.sign.wait(20)
        return super().recognize_face(image)


def test_more_requests_than_may_wait_get_429_with_retry_after(brightness_model: Path) -> None:
    held = Held(Recognizer.load(brightness_model))
    app = app_of(held, Limits(parallel=2, max_waiting=3, client_share_percent=100))

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:

            async def one() -> httpx.Response:
                return await http.post("/predict?framing=face", files={"picture": FLAT_FACE})

            asked = [asyncio.create_task(one()) for _ in range(9)]
            while sum(task.done() for task in asked) < 4 or held.running < 2:
                await asyncio.sleep(0.01)
            held.sign.set()
            first = await asyncio.gather(*asked)
            return [*first, await one()]

    *answers, after = asyncio.run(asyncio.wait_for(ask(), 30))
    assert sorted(answer.status_code for answer in answers) == [200] * 5 + [429] * 4
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert error_of(refused) == "overloaded"
    assert refused.headers["retry-after"] == "1"  # none was measured yet
    assert after.status_code == 200


@pytest.mark.parametrize(("seconds", "told"), [((0.02, 0.03), 1), ((1.5, 2.5), 5), ((100.0,), 60)])
def test_retry_after_follows_the_pace_of_recent_work(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch, seconds: tuple[float, ...], told: int
) -> None:
    """A refused request is told to come back when the queue is done at the pace of recent works."""
    held = Held(Recognizer.load(brightness_model))
    app = app_of(held, Limits(parallel=2, max_waiting=3, client_share_percent=100))
    admission = app.state.admission
    now = 0.0

    def pass_time(by: float) -> None:
        nonlocal now
        now += by

    async def ask() -> httpx.Response:
        with monkeypatch.context() as clock:
            clock.setattr("fer_pipeline.serving.http.work_queue.time", SimpleNamespace(monotonic=lambda: now))
            for by in seconds:
                await admission.run(Request({"type": "http"}), partial(pass_time, by))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            post = partial(http.post, "/predict?framing=face", files={"picture": FLAT_FACE})
            asked = [asyncio.create_task(post()) for _ in range(6)]
            while not any(task.done() for task in asked):
                await asyncio.sleep(0.01)
            (refused,) = (task.result() for task in asked if task.done())
            held.sign.set()
            await asyncio.gather(*asked)
            return refused

    refused = asyncio.run(asyncio.wait_for(ask(), 30))
    assert (refused.status_code, refused.headers["retry-after"]) == (429, str(told))
    assert f"try again in {told} s" in refused.json()["error"]["message"]


def test_a_picture_for_which_no_decoder_can_be_had_gets_429(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))
    app.state.service.decoder = closed_sandbox()
    client = TestClient(app, raise_server_exceptions=False)
    for path, field in (
        ("/predict", "picture"),
        ("/predict/batch", "pictures"),
        ("/annotate", "picture"),
        ("/explain", "picture"),
    ):
        answer = client.post(path, files={field: FLAT_FACE})
        assert (answer.status_code, error_of(answer), answer.headers["retry-after"]) == (429, "no_decoder", "5")


def test_more_uploads_than_may_come_in_get_429(brightness_model: Path) -> None:
    held = Held(Recognizer.load(brightness_model))
    app = app_of(held, Limits(max_uploads=1))

    async def ask() -> tuple[int, int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            slow = asyncio.create_task(http.post("/predict?framing=face", files={"picture": FLAT_FACE}))
            while not held.running:
                await asyncio.sleep(0.01)
            second = await http.post("/predict?framing=face", files={"picture": FLAT_FACE})
            held.sign.set()
            return (await slow).status_code, second.status_code

    assert asyncio.run(asyncio.wait_for(ask(), 30)) == (200, 429)


def test_an_internal_error_has_the_same_form(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is told in the same form without details."""

    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Recognizer, "recognize_cut", fail)
    answer = client_of(Recognizer.load(brightness_model)).post("/predict", files={"picture": FLAT_FACE})
    assert (answer.status_code, error_of(answer)) == (500, "internal_error")
    assert "secret" not in answer.text


def test_an_internal_error_has_headers_and_a_logged_id(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault of ours has the headers of each answer and is logged with its id."""

    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Recognizer, "recognize_cut", fail)
    client = client_of(Recognizer.load(brightness_model))
    answer = client.post("/predict", files={"picture": FLAT_FACE}, headers={"x-request-id": "abc-1"})
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("abc-1", "no-store")
    assert "abc-1" in answer.json()["error"]["message"]
    (record,) = [record for record in caplog.records if record.name == "fer_pipeline.serving.http.middleware"]
    assert "abc-1" in record.getMessage()
    assert record.exc_info is not None
    assert str(record.exc_info[1]) == "secret"


def test_a_fault_in_the_midst_of_an_answer_is_no_second_answer(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))

    @app.get("/broken")
    async def broken() -> StreamingResponse:
        async def chunks() -> AsyncIterator[bytes]:
            yield b"half"
            raise RuntimeError("broken")

        return StreamingResponse(chunks())

    with pytest.raises(RuntimeError, match="broken"):
        TestClient(app).get("/broken")


def test_a_dropped_connection_frees_its_place(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model), Limits(max_uploads=1))
    client = TestClient(app)
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/predict",
        "query_string": b"",
        "headers": [(b"content-type", b"multipart/form-data; boundary=x")],
    }

    async def drop() -> None:
        async def receive() -> dict[str, Any]:
            return {"type": "http.disconnect"}

        async def send(_: Any) -> None:
            return None

        await app(scope, receive, send)

    asyncio.run(drop())
    assert client.post("/predict", files={"picture": FLAT_FACE}).status_code == 200


def test_an_upload_that_takes_too_long_is_cut_off(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model), Limits(max_upload_seconds=1, max_uploads=1))

    async def slow() -> AsyncIterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        await asyncio.sleep(20)

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http:
            form = {"content-type": "multipart/form-data; boundary=x"}
            cut = await http.post("/predict", content=slow(), headers=form)
            return [cut, await http.post("/predict?framing=face", files={"picture": FLAT_FACE})]

    cut, after = asyncio.run(asyncio.wait_for(ask(), 10))
    assert (cut.status_code, error_of(cut)) == (408, "too_slow")
    assert after.status_code == 200
