from __future__ import annotations

import asyncio
import dataclasses
import io
import shutil
import struct
import threading
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import REGISTRY

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import ALLOWED_FORMATS, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.recognizer import FaceEmotion, Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.serving.answers import NOTICE, SYNTHETIC_NOTICE
from fer_pipeline.serving.api import WEB, create_app, open_desk
from fer_pipeline.serving.desk import Desk
from fer_pipeline.serving.headers import SECURITY_HEADERS
from fer_pipeline.serving.jobs import Jobs
from fer_pipeline.serving.uploads import SIGNATURES, Limits

UInt8Array = npt.NDArray[np.uint8]

FLAT_FACE = encode_png(np.full((48, 48), 125, np.uint8))  # class 3, happy


def app_of(recognizer: Recognizer, limits: Limits | None = None, token: str | None = None) -> FastAPI:
    app = create_app()
    limits = limits or Limits()
    open_desk(app, Desk(recognizer, limits, token), Jobs(Path("nowhere"), Path("nowhere"), limits))
    return app


def client_of(recognizer: Recognizer, limits: Limits | None = None, token: str | None = None) -> TestClient:
    return TestClient(app_of(recognizer, limits, token), raise_server_exceptions=False)


@pytest.fixture
def client(brightness_model: Path) -> TestClient:
    return client_of(Recognizer.load(brightness_model))


def error_of(answer: httpx.Response) -> str:
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["message"]
    return str(answer.json()["error"]["code"])


def test_a_face_found_by_turning_the_picture_says_so(client: TestClient, drawn_face: UInt8Array) -> None:
    for quarters, rotation in ((0, 0), (3, 90)):
        picture = np.ascontiguousarray(np.rot90(drawn_face, quarters))
        (face,) = client.post("/predict", files={"picture": encode_png(picture)}).json()["faces"]
        assert face["rotation"] == rotation
        assert 0 < face["box"]["x"] < picture.shape[1]


def test_a_picture_is_answered_with_its_faces_and_the_model(client: TestClient, drawn_face: UInt8Array) -> None:
    answer = client.post("/predict", files={"picture": ("../../etc/passwd", encode_png(drawn_face))})
    assert answer.status_code == 200
    values = answer.json()
    assert values["picture"] == {"width": 640, "height": 480}
    (face,) = values["faces"]
    assert face["box"]["x"] == pytest.approx(217, abs=12)
    assert list(face["probabilities"]) == list(EMOTIONS)
    assert values["model"]["network"] == "brightness"
    assert values["model"]["lineage"] == {"run_id": "abc"}
    assert values["model"]["notice"] == NOTICE
    assert values["milliseconds"] > 0


def test_the_service_answers_as_the_library_does(brightness_model: Path, client: TestClient) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (61, 47, 3), dtype=np.uint8)
    answer = client.post("/predict?framing=face", files={"picture": encode_png(picture)}).json()
    classifier = EmotionClassifier.load(brightness_model)
    expected = classifier.probabilities(to_model_input(picture, classifier.info.image_spec)[np.newaxis])[0]
    assert list(answer["faces"][0]["probabilities"].values()) == expected.tolist()


def test_a_picture_without_faces_is_answered_with_an_empty_list(client: TestClient) -> None:
    answer = client.post("/predict", files={"picture": FLAT_FACE})
    assert (answer.status_code, answer.json()["faces"]) == (200, [])


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP"])
def test_each_allowed_format_is_read(client: TestClient, format_: str) -> None:
    buffer = io.BytesIO()
    Image.new("L", (48, 48), 125).save(buffer, format_)
    answer = client.post("/predict?framing=face", files={"picture": ("x.bin", buffer.getvalue(), "text/plain")})
    assert (answer.status_code, answer.json()["faces"][0]["emotion"]) == (200, "happy")


def test_there_is_a_signature_for_each_allowed_format() -> None:
    assert set(SIGNATURES) == set(ALLOWED_FORMATS)


def test_a_batch_is_answered_in_its_order(client: TestClient) -> None:
    pictures = [("pictures", encode_png(np.full((48, 48), gray, np.uint8))) for gray in (20, 230, 125)]
    answer = client.post("/predict/batch?framing=face", files=pictures)
    assert [item["faces"][0]["top_emotion"] for item in answer.json()["pictures"]] == ["angry", "neutral", "happy"]


def test_a_bad_picture_in_a_batch_is_named(client: TestClient) -> None:
    answer = client.post("/predict/batch", files=[("pictures", FLAT_FACE), ("pictures", FLAT_FACE[:60])])
    assert (answer.status_code, error_of(answer)) == (422, "undecodable_picture")
    assert "picture 2" in answer.json()["error"]["message"]


def test_a_batch_of_too_many_pictures_is_refused(brightness_model: Path) -> None:
    client = client_of(Recognizer.load(brightness_model), Limits(max_pictures=3))
    assert client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 3).status_code == 200
    answer = client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 4)
    assert (answer.status_code, error_of(answer)) == (422, "too_many_pictures")
    assert client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 9).status_code in (400, 422)


def test_the_annotated_picture_is_a_png_of_the_same_size(client: TestClient, drawn_face: UInt8Array) -> None:
    answer = client.post("/annotate", files={"picture": encode_png(drawn_face)})
    assert answer.headers["content-type"] == "image/png"
    drawn = np.asarray(Image.open(io.BytesIO(answer.content)))
    assert drawn.shape == drawn_face.shape
    assert (drawn != drawn_face).any()


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty_picture"),
        (b"hello", 415, "unsupported_picture"),
        (b"GIF89a" + bytes(50), 415, "unsupported_picture"),
        (b"RIFF\0\0\0\0WAVEfmt ", 415, "unsupported_picture"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_picture"),
        (b"\xff\xd8\xff", 422, "undecodable_picture"),
        (FLAT_FACE[:50], 422, "undecodable_picture"),
        (b"BM" + bytes(100), 422, "undecodable_picture"),
        (b"RIFF\0\0\0\0WEBP" + bytes(100), 422, "undecodable_picture"),
    ],
)
def test_what_is_no_picture_is_refused_with_a_reason(client: TestClient, content: bytes, status: int, code: str) -> None:
    for route in ("/predict", "/annotate"):
        answer = client.post(route, files={"picture": content})
        assert (answer.status_code, error_of(answer)) == (status, code)


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "BMP"])
def test_damaged_pictures_are_answered_or_refused_but_never_break_the_service(client: TestClient, format_: str) -> None:
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)).save(buffer, format_)
    for _ in range(25):
        data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
        places = rng.integers(12, len(data), rng.choice([1, 5, 50]))
        data[places] = rng.integers(0, 256, len(places))
        cut = data[: rng.integers(12, len(data))] if rng.random() < 0.3 else data
        answer = client.post("/predict?framing=face", files={"picture": cut.tobytes()})
        assert answer.status_code == 200 or error_of(answer) == "undecodable_picture"


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (2**31 - 1, 1), (8000, 8000)])
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded(
    client: TestClient, width: int, height: int
) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10_000_000))) + chunk(b"IEND", b"")
    start = time.monotonic()
    answer = client.post("/predict", files={"picture": bomb})
    assert (answer.status_code, error_of(answer)) == (422, "undecodable_picture")
    assert "pixels" in answer.json()["error"]["message"]
    assert time.monotonic() - start < 2


@pytest.mark.parametrize("text", ["http://127.0.0.1/x.png", "file:///etc/passwd", "/etc/passwd", "data:image/png;base64,AAAA"])
def test_addresses_and_paths_are_not_fetched(client: TestClient, text: str) -> None:
    as_field = client.post("/predict", files={"picture": (None, text)})
    assert (as_field.status_code, error_of(as_field)) == (422, "not_a_file")
    as_json = client.post("/predict", json={"picture": text})
    assert (as_json.status_code, error_of(as_json)) == (415, "not_multipart")


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"image": FLAT_FACE}, "unexpected_field"),
        ([("picture", FLAT_FACE), ("picture", FLAT_FACE)], "too_many_pictures"),
        ([("picture", FLAT_FACE), ("other", FLAT_FACE)], "unexpected_field"),
    ],
)
def test_a_form_with_other_fields_is_refused(client: TestClient, files: Any, code: str) -> None:
    answer = client.post("/predict", files=files)
    assert (answer.status_code, error_of(answer)) == (422, code)


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", "", 415),
        (FLAT_FACE, "image/png", 415),
        (b"picture=x", "application/x-www-form-urlencoded", 415),
        (b"", "multipart/form-data", 400),
        (b"garbage", "multipart/form-data; boundary=x", 400),
        (b"--x\r\n\r\n", "multipart/form-data; boundary=x", 400),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
        (b"\0" * 5000, "multipart/form-data; boundary=" + "a" * 5000, 400),
    ],
)
def test_a_body_that_is_no_form_is_refused(client: TestClient, body: bytes, kind: str, status: int) -> None:
    answer = client.post("/predict", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    error_of(answer)


def test_an_unknown_framing_is_refused(client: TestClient) -> None:
    answer = client.post("/predict?framing=mirror", files={"picture": FLAT_FACE})
    assert (answer.status_code, error_of(answer)) == (422, "invalid_parameter")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/predict", 405), ("GET", "/nowhere", 404), ("GET", "/web/../api.py", 404)]
)
def test_other_routes_are_refused_in_the_same_form(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    error_of(answer)


def test_an_upload_over_the_limit_is_refused_by_its_announced_length(brightness_model: Path) -> None:
    client = client_of(Recognizer.load(brightness_model), Limits(max_upload_megabytes=1))
    answer = client.post("/predict", files={"picture": FLAT_FACE + bytes(1_000_000)})
    assert (answer.status_code, error_of(answer)) == (413, "upload_too_large")
    assert answer.headers["connection"] == "close"


def test_an_upload_without_length_is_cut_at_the_limit(brightness_model: Path) -> None:
    client = client_of(Recognizer.load(brightness_model), Limits(max_upload_megabytes=1))
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        yield b'--x\r\nContent-Disposition: form-data; name="picture"; filename="a"\r\n\r\n'
        for _ in range(50):
            sent += 1
            yield bytes(100_000)

    answer = client.post("/predict", content=chunks(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert (answer.status_code, error_of(answer)) == (413, "upload_too_large")


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
    app = app_of(held, Limits(parallel=2, max_waiting=3))

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
    assert refused.headers["retry-after"] == "1"
    assert after.status_code == 200


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


def test_a_fault_of_ours_is_told_in_the_same_form_without_details(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Recognizer, "recognize", fail)
    answer = client_of(Recognizer.load(brightness_model)).post("/predict", files={"picture": FLAT_FACE})
    assert (answer.status_code, error_of(answer)) == (500, "internal_error")
    assert "secret" not in answer.text


def test_a_fault_of_ours_has_the_headers_of_each_answer_and_is_logged_with_its_id(
    brightness_model: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Recognizer, "recognize", fail)
    client = client_of(Recognizer.load(brightness_model))
    answer = client.post("/predict", files={"picture": FLAT_FACE}, headers={"x-request-id": "abc-1"})
    assert answer.status_code == 500
    assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    assert (answer.headers["x-request-id"], answer.headers["cache-control"]) == ("abc-1", "no-store")
    assert "abc-1" in answer.json()["error"]["message"]
    (record,) = [record for record in caplog.records if record.name == "fer_pipeline.serving.headers"]
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


def test_the_model_card_is_a_page_of_its_own_that_may_hold_its_style_but_no_script(brightness_model: Path) -> None:
    app = app_of(Recognizer.load(brightness_model))
    client = TestClient(app, raise_server_exceptions=False)
    missing = client.get("/card")
    assert (missing.status_code, error_of(missing)) == (404, "no_card")
    assert client.get("/model").json()["has_card"] is False
    app.state.desk.card = "<h1>Model card</h1>"
    answer = client.get("/card")
    assert answer.text == "<h1>Model card</h1>"
    assert answer.headers["content-type"].startswith("text/html")
    assert "script" not in answer.headers["content-security-policy"]
    assert client.get("/model").json()["has_card"] is True


def test_model_facts_are_told(client: TestClient, brightness_model: Path) -> None:
    facts = client.get("/model").json()
    info = ModelInfo.read(brightness_model)
    assert facts["sha256"] == info.sha256
    assert facts["labels"] == list(EMOTIONS)
    assert facts["image_spec"]["fingerprint"] == info.image_spec.fingerprint
    assert (facts["metrics"], facts["detector"], facts["uncertain_below"]) == ({"accuracy": 0.5}, "haar", 0.4)


def test_a_model_of_synthetic_faces_says_so_in_each_answer(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    dataclasses.replace(ModelInfo.read(folder), synthetic=True).write(folder)
    client = client_of(Recognizer.load(folder))
    answers = [
        client.post("/predict", files={"picture": FLAT_FACE}).json()["model"],
        client.post("/predict/batch", files={"pictures": FLAT_FACE}).json()["model"],
        client.get("/model").json(),
    ]
    for model in answers:
        assert model["synthetic"] is True
        assert model["notice"].startswith(SYNTHETIC_NOTICE)


def test_an_answer_is_explained_by_a_picture(client: TestClient, drawn_face: UInt8Array) -> None:
    answer = client.post("/explain", files={"picture": encode_png(drawn_face)})
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (336, 336)
    predicted = client.post("/predict", files={"picture": encode_png(drawn_face)}).json()
    assert answer.headers["x-emotion"] == predicted["faces"][0]["top_emotion"]
    whole = client.post("/explain?framing=face", files={"picture": FLAT_FACE})
    assert (whole.status_code, whole.headers["x-emotion"]) == (200, "happy")


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_face_that_lies_is_explained_as_it_is_answered(client: TestClient, drawn_face: UInt8Array, degrees: int) -> None:
    lying = encode_png(np.ascontiguousarray(np.rot90(drawn_face, -degrees // 90)))
    (face,) = client.post("/predict", files={"picture": lying}).json()["faces"]
    explained = client.post("/explain", files={"picture": lying})
    assert (explained.status_code, explained.headers["x-emotion"]) == (200, face["top_emotion"])
    upright = client.post("/explain", files={"picture": encode_png(drawn_face)})
    assert explained.content == upright.content


@pytest.mark.parametrize("query", ["face=2", "face=1&framing=face", "face=0", "face=x", "face=99999999999"])
def test_a_face_that_is_not_there_is_not_explained(client: TestClient, drawn_face: UInt8Array, query: str) -> None:
    answer = client.post(f"/explain?{query}", files={"picture": encode_png(drawn_face)})
    if "framing" in query:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, error_of(answer)) == (422, "no_such_face" if query == "face=2" else "invalid_parameter")


def test_a_token_is_asked_for_what_gives_work_and_not_for_the_page(brightness_model: Path) -> None:
    client = client_of(Recognizer.load(brightness_model), token="s3cret")
    for path in ("/predict", "/predict/batch", "/annotate", "/explain"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            answer = client.post(path, files={"picture": FLAT_FACE}, headers=headers)
            assert (answer.status_code, error_of(answer)) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    right = {"authorization": "Bearer s3cret"}
    assert client.post("/predict", files={"picture": FLAT_FACE}, headers=right).status_code == 200
    for path in ("/", "/model", "/openapi.json"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize("token", ["two words", "sésame", "line\n", ""])
def test_a_token_that_not_every_client_can_send_is_an_error(brightness_model: Path, token: str) -> None:
    with pytest.raises(ParamsError, match="FER_TOKEN"):
        client_of(Recognizer.load(brightness_model), token=token)


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.Z_9", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("<x>", False), ("", False)]
)
def test_the_id_of_a_request_is_told_back(client: TestClient, given: str, kept: bool) -> None:
    told = client.post("/predict", headers={"x-request-id": given}).headers["x-request-id"]
    assert (told == given) is kept
    assert len(told) == 32 or kept


def test_answers_and_refusals_are_counted(client: TestClient) -> None:
    def value(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(name, labels) or 0.0

    def counts() -> list[float]:
        return [
            value("fer_faces_total", source="picture", emotion="happy"),
            value("fer_answer_seconds_count", source="picture"),
            value("fer_refused_total", reason="unsupported_picture"),
        ]

    before = counts()
    client.post("/predict?framing=face", files={"picture": FLAT_FACE})
    client.post("/predict", files={"picture": b"hello"})
    assert [after - earlier for after, earlier in zip(counts(), before, strict=True)] == [1, 1, 1]


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


def test_the_page_and_its_files_are_served_with_security_headers(client: TestClient) -> None:
    page = client.get("/")
    assert "text/html" in page.headers["content-type"]
    for path in ("web/style.css", "web/app.js"):
        assert f'"{path}"' in page.text
        assert client.get(f"/{path}").status_code == 200
    for answer in (page, client.get("/web/app.js"), client.get("/nowhere"), client.post("/predict")):
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_the_page_asks_nothing_of_other_hosts_and_has_no_inline_code(client: TestClient) -> None:
    modules = sorted(f"/web/{path.name}" for path in WEB.glob("*.js"))
    assert "/web/camera.js" in modules
    for path in ("/", "/web/style.css", *modules):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert "innerHTML" not in text


def test_answers_are_not_kept_by_caches_and_other_sites_may_not_read_them(client: TestClient) -> None:
    answer = client.get("/model", headers={"origin": "https://elsewhere.example"})
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    assert client.options("/predict", headers={"origin": "https://elsewhere.example"}).status_code == 405


def test_only_the_page_may_be_kept_by_caches(client: TestClient) -> None:
    for path in ("/", "/web/app.js", "/web/style.css"):
        assert client.get(path).headers["cache-control"] == "no-cache"
    for path in ("/model", "/openapi.json", "/nowhere", "/website", "/video/0", "/video/0/files/faces.csv"):
        assert client.get(path).headers["cache-control"] == "no-store"
    answers = [client.post("/predict", files={"picture": FLAT_FACE}), client.post("/predict"), client.delete("/video/0")]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "http://testserver:8888"},
        {"origin": "http://testserver.elsewhere.example"},
        {"origin": "http://testserver@elsewhere.example"},
        {"origin": "http://localhost", "host": "127.0.0.1"},
        {"origin": "http://127.0.0.1:8888", "host": "127.0.0.1:3000"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://["},
        {"origin": "http://testserver:99999"},
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    ],
)
def test_pages_of_other_origins_may_send_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/predict"),
        ("POST", "/explain"),
        ("POST", "/video"),
        ("PUT", "/model"),
        ("PATCH", "/model"),
        ("DELETE", "/video/0"),
    ):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, error_of(answer)) == (403, "forbidden_origin")
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["x-request-id"]
    assert client.get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
        {"origin": "http://testserver:80"},
        {"origin": "http://testserver", "host": "testserver:80"},
        {"origin": "https://fer.example", "host": "fer.example"},
        {"origin": "http://127.0.0.1:3000", "host": "127.0.0.1:3000"},
        {"origin": "http://[::1]:3000", "host": "[::1]:3000"},
        {"origin": "http://localhost:3000", "host": "LOCALHOST:3000"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_own_page_and_programs_are_served(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/predict?framing=face", files={"picture": FLAT_FACE}, headers=headers)
    assert answer.status_code == 200


def test_the_openapi_document_names_every_route_and_refusal(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    pictures = {"/predict", "/predict/batch", "/annotate", "/explain"}
    videos = {"/video", "/video/{job}", "/video/{job}/events", "/video/{job}/files/{name}"}
    assert set(document["paths"]) == {*pictures, *videos, "/model", "/card", "/admin/reload"}
    for path in pictures:
        post = document["paths"][path]["post"]
        assert post["security"] == [{"HTTPBearer": []}]
        assert set(post["responses"]) == {"200", "400", "401", "403", "408", "413", "415", "422", "429"}
        assert post["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
        assert f"127.0.0.1:3000{path}" in post["requestBody"]["content"]["multipart/form-data"]["examples"]["curl"]["summary"]
    example = document["components"]["schemas"]["Face"]["properties"]["probabilities"]["examples"][0]
    assert sum(example.values()) == pytest.approx(1)
