"""The client against the app of the service, without a server: as threads and as asyncio use it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.client import AsyncClient, Client, ServiceError, VideoState
from fer_pipeline.imaging import decode, encode_png
from fer_pipeline.inference.recognizer import Recognizer
from tests.serving.asking import FLAT_FACE, app_of, client_of

JOB = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def client(brightness_model: Path) -> Iterator[Client]:
    service = client_of(Recognizer.load(brightness_model))
    with Client("http://testserver", transport=service._transport) as client:
        yield client


def test_a_picture_is_recognized(client: Client, drawn_face: npt.NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes(encode_png(drawn_face))
    found = client.predict(tmp_path / "face.png")
    (face,) = found.faces
    assert found.size == (640, 480)
    assert face.box is not None
    assert face.relative_box is not None
    assert face.relative_box.x == pytest.approx(face.box.x / 640, abs=1e-3)
    assert (face.feedback, face.confidence) == (None, max(face.probabilities.values()))
    assert found.model.name == client.model().name == "brightness"
    assert client.predict(FLAT_FACE, framing="face").faces[0].emotion == "happy"


def test_each_picture_of_a_batch_has_faces_or_an_error(client: Client) -> None:
    good, bad = client.predict_batch([FLAT_FACE, b"no picture"], framing="face")
    assert (good.size, good.faces[0].emotion, good.error) == ((48, 48), "happy", None)
    assert (bad.size, bad.faces) == (None, ())
    assert bad.error is not None
    assert bad.error.code == "unsupported_picture"


def test_pictures_come_back(client: Client, drawn_face: npt.NDArray[np.uint8]) -> None:
    picture = encode_png(drawn_face)
    assert client.annotate(picture).startswith(b"\xff\xd8\xff")
    assert decode(client.annotate(picture, "png")).shape == drawn_face.shape
    assert decode(client.explain(picture)).shape == (336, 336, 3)


def test_refusals_carry_their_code(client: Client) -> None:
    with pytest.raises(ServiceError, match="face 2 was asked for") as caught:
        client.explain(FLAT_FACE, face=2, framing="face")
    assert (caught.value.status, caught.value.code) == (422, "face_not_found")
    with pytest.raises(ServiceError) as caught:
        client.video(JOB)
    assert (caught.value.status, caught.value.code) == (404, "video_not_found")


def test_answers_of_a_proxy_are_errors_too() -> None:
    busy = httpx.MockTransport(lambda _: httpx.Response(503, text="<h1>busy</h1>", headers={"Retry-After": "7"}))
    with Client(transport=busy) as client, pytest.raises(ServiceError, match="503 Service Unavailable") as caught:
        client.model()
    assert (caught.value.status, caught.value.retry_seconds) == (503, 7)


def states(request: httpx.Request) -> httpx.Response:
    """A service with one video, which is done at the third look; it wants a token."""
    assert request.headers["Authorization"] == "Bearer secret"
    if request.method == "POST":
        assert (request.url.params["temporal"], request.read()) == ("hmm", b"film")
        return httpx.Response(202, json={"job": JOB, "state": "queued"})
    if request.method == "DELETE":
        return httpx.Response(204)
    if request.url.path.endswith("faces.csv"):
        return httpx.Response(200, content=b"frame,time")
    values = {"job": JOB, "state": STATES.pop(0), "progress": 1.0, "files": ["faces.csv"], "summary": {"seconds": 2}}
    return httpx.Response(200, json=values)


STATES: list[str] = []


def test_a_video_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_pipeline.client.calls._POLL_SECONDS", 0.0)
    STATES[:] = ["queued", "running", "done", "running"]
    with Client(token="secret", transport=httpx.MockTransport(states)) as client:
        job = client.send_video(b"film").job  # hmm is the default
        done = client.wait_for_video(job)
        assert (done.state, done.files, done.summary, done.finished) == ("done", ("faces.csv",), {"seconds": 2}, True)
        assert client.video_file(job, "faces.csv") == b"frame,time"
        with pytest.raises(TimeoutError, match="is running after 0 s"):
            client.wait_for_video(job, seconds=0)
        client.delete_video(job)


def test_asyncio_has_the_same_calls(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fer_pipeline.client.calls._POLL_SECONDS", 0.0)
    STATES[:] = ["running", "done"]
    app = app_of(Recognizer.load(brightness_model))

    async def work() -> tuple[str, VideoState]:
        async with AsyncClient("http://localhost", transport=httpx.ASGITransport(app)) as client:
            found = await client.predict(FLAT_FACE, framing="face")
            assert [picture.faces[0].emotion for picture in await client.predict_batch([FLAT_FACE], framing="face")] == ["happy"]
            assert (await client.annotate(FLAT_FACE)).startswith(b"\xff\xd8\xff")
            assert (await client.explain(FLAT_FACE, framing="face")).startswith(b"\x89PNG")
            assert (await client.model()).name == "brightness"
        async with AsyncClient(token="secret", transport=httpx.MockTransport(states)) as client:
            job = (await client.send_video(b"film", temporal="hmm")).job
            done = await client.wait_for_video(job)
            assert await client.video_file(job, "faces.csv") == b"frame,time"
            await client.delete_video(job)
        return found.faces[0].emotion, done

    emotion, done = asyncio.run(work())
    assert (emotion, done.state) == ("happy", "done")


def test_both_clients_have_the_same_methods() -> None:
    assert {name for name in vars(Client) if name[0] != "_"} == {name for name in vars(AsyncClient) if name[0] != "_"}
