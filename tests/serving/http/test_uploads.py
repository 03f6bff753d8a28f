"""What the service refuses to read, and that each refusal says why in the same form."""

from __future__ import annotations

import io
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from fer_pipeline.imaging import ALLOWED_FORMATS
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import FLAT_FACE, client_of, error_of

UInt8Array = npt.NDArray[np.uint8]


def test_the_pictures_of_a_batch_are_judged_one_by_one(client: TestClient) -> None:
    """One that cannot be read has an error in its place; the others are answered."""
    bad = [(FLAT_FACE[:60], "undecodable_picture"), (b"", "empty_picture"), (b"hello", "unsupported_picture")]
    files = [("pictures", FLAT_FACE), *(("pictures", data) for data, _ in bad), ("pictures", FLAT_FACE)]
    answer = client.post("/predict/batch?framing=face", files=files)
    assert answer.status_code == 200
    first, *others, last = answer.json()["pictures"]
    for item in (first, last):
        assert (item["faces"][0]["emotion"], item["error"]) == ("happy", None)
    for number, ((_, code), item) in enumerate(zip(bad, others, strict=True), 2):
        assert (item["faces"], item["picture"], item["error"]["code"]) == ([], None, code)
        assert f"picture {number}" in item["error"]["message"]


def test_a_batch_of_too_many_pictures_is_refused(brightness_model: Path) -> None:
    client = client_of(Recognizer.load(brightness_model), Limits(max_pictures=3))
    assert client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 3).status_code == 200
    answer = client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 4)
    assert (answer.status_code, error_of(answer)) == (422, "too_many_pictures")
    assert client.post("/predict/batch", files=[("pictures", FLAT_FACE)] * 9).status_code in (400, 422)


@pytest.mark.parametrize(
    ("content", "status", "code"),
    [
        (b"", 422, "empty_picture"),
        (b"hello", 415, "unsupported_picture"),
        (b"GIF89a" + bytes(50), 422, "undecodable_picture"),
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


@pytest.mark.parametrize("format_", ALLOWED_FORMATS)
def test_damaged_pictures_never_break_the_service(client: TestClient, format_: str) -> None:
    """Damaged pictures are answered or refused but never break the service."""
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
def test_a_picture_of_too_many_pixels_is_refused(client: TestClient, width: int, height: int) -> None:
    """A picture that claims too many pixels is refused before it is decoded."""

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
        (FLAT_FACE, "application/json", 415),
        (b"picture=x", "application/x-www-form-urlencoded", 415),
        (b"", "image/png", 422),
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


def test_a_method_that_is_not_served_is_told_which_are(client: TestClient) -> None:
    answer = client.put("/predict")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_a_too_large_announced_length_is_refused(brightness_model: Path) -> None:
    """An upload over the limit is refused by its announced length."""
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
