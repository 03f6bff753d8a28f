"""What the routes answer."""

from __future__ import annotations

import dataclasses
import io
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client import REGISTRY

from fer_pipeline.imaging import ALLOWED_FORMATS, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.promotion.bundle.folder import replaced_bundle
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox
from fer_pipeline.serving.http.model_schemas import NOTICE, SYNTHETIC_NOTICE
from fer_pipeline.serving.http.uploads import SIGNATURES
from fer_pipeline.serving.settings import ServiceSettings
from fer_pipeline.workspace import layout
from tests.serving.asking import FLAT_FACE, app_of, client_of, error_of

UInt8Array = npt.NDArray[np.uint8]


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
    assert face["box"]["x"] == pytest.approx(237, abs=12)
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
    assert list(answer["faces"][0]["probabilities"].values()) == pytest.approx(expected, abs=0.00005)


def test_a_picture_without_faces_is_answered_with_an_empty_list(client: TestClient) -> None:
    answer = client.post("/predict", files={"picture": FLAT_FACE})
    assert (answer.status_code, answer.json()["faces"]) == (200, [])


def test_a_batch_keeps_no_picture_that_is_answered(brightness_model: Path, tmp_path: Path) -> None:
    """Of 16 pictures of 7 MB, which as files have a few kB each, there are a few at the same time."""
    app = app_of(Recognizer.load(brightness_model))
    client = TestClient(app, raise_server_exceptions=False)
    app.state.service.feedback_inbox = intake = FeedbackInbox(tmp_path / "inbox", ServiceSettings())
    files = [("pictures", encode_png(np.full((1800, 1300), 125, np.uint8)))] * 16
    client.post("/predict?framing=face", files={"picture": FLAT_FACE})
    tracemalloc.start()
    try:
        answer = client.post("/predict/batch?framing=face", files=files)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        intake.close()
    assert len(answer.json()["pictures"]) == 16
    assert peak < 50_000_000


@pytest.mark.parametrize("format_", ALLOWED_FORMATS)
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


@pytest.mark.parametrize(("query", "form"), [("", "jpeg"), ("?format=png", "png")])
def test_the_annotated_picture_has_the_same_size(client: TestClient, drawn_face: UInt8Array, query: str, form: str) -> None:
    answer = client.post(f"/annotate{query}", files={"picture": encode_png(drawn_face)})
    assert answer.headers["content-type"] == f"image/{form}"
    image = Image.open(io.BytesIO(answer.content))
    assert image.format == form.upper()
    assert np.asarray(image).shape == drawn_face.shape
    assert np.abs(np.asarray(image).astype(int) - drawn_face).max() > 100


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "application/x-www-form-urlencoded"])
def test_a_picture_may_be_the_body_itself(client: TestClient, kind: str) -> None:
    for route in ("/predict", "/annotate", "/explain?framing=face"):
        answer = client.post(route, content=FLAT_FACE, headers={"content-type": kind})
        assert answer.status_code == 200, route
    face = client.post("/predict?framing=face", content=FLAT_FACE, headers={"content-type": kind}).json()["faces"][0]
    assert face["emotion"] == "happy"
    batch = client.post("/predict/batch", content=FLAT_FACE, headers={"content-type": kind})
    assert (batch.status_code, error_of(batch)) == (415, "not_multipart")


@pytest.mark.parametrize(
    ("method", "path", "known"),
    [
        ("POST", "/predict?frame=face", "expected framing"),
        ("POST", "/explain?framing=face&number=2", "expected framing, face"),
        ("GET", "/model?full=1", "this route has none"),
    ],
)
def test_unknown_parameters_are_refused(client: TestClient, method: str, path: str, known: str) -> None:
    answer = client.request(method, path, content=FLAT_FACE if method == "POST" else None, headers={"content-type": "image/png"})
    assert (answer.status_code, error_of(answer)) == (422, "unknown_parameter")
    assert known in answer.json()["error"]["message"]
    assert client.get("/?from=mail").status_code == 200  # a link to the page may carry what it likes


def test_the_model_card_may_hold_its_style_but_no_script(brightness_model: Path) -> None:
    """The model card is a page of its own that may hold its style but no script."""
    app = app_of(Recognizer.load(brightness_model))
    client = TestClient(app, raise_server_exceptions=False)
    missing = client.get("/card")
    assert (missing.status_code, error_of(missing)) == (404, "no_card")
    assert client.get("/model").json()["has_card"] is False
    app.state.service.card = "<h1>Model card</h1>"
    answer = client.get("/card")
    assert answer.text == "<h1>Model card</h1>"
    assert answer.headers["content-type"].startswith("text/html")
    assert "script" not in answer.headers["content-security-policy"]
    assert client.get("/model").json()["has_card"] is True


def test_each_answer_names_the_registered_version(brightness_model: Path, tmp_path: Path) -> None:
    """Each answer names the version of the registry that gave it."""
    with replaced_bundle(brightness_model, tmp_path, {"name": "fer", "version": "3", "alias": "champion"}):
        pass
    client = client_of(Recognizer.load(tmp_path / layout.BUNDLE))
    info = ModelInfo.read(brightness_model)
    for model in (
        client.post("/predict", files={"picture": FLAT_FACE}).json()["model"],
        client.post("/predict/batch", files={"pictures": FLAT_FACE}).json()["model"],
        client.get("/model").json(),
    ):
        assert model["lineage"] == {"run_id": "abc", "name": "fer", "version": "3", "alias": "champion"}
        assert (model["fingerprint"], model["image_spec_fingerprint"]) == (info.fingerprint, info.image_spec.fingerprint)
    for path in ("/annotate", "/explain?framing=face"):
        answer = client.post(path, files={"picture": FLAT_FACE})
        assert answer.headers["x-model"] == f"fer/3 brightness {info.fingerprint}"


def test_model_facts_are_told(client: TestClient, brightness_model: Path) -> None:
    facts = client.get("/model").json()
    info = ModelInfo.read(brightness_model)
    assert facts["sha256"] == info.sha256
    assert facts["labels"] == list(EMOTIONS)
    assert facts["image_spec"]["fingerprint"] == info.image_spec.fingerprint
    assert (facts["metrics"], facts["detector"], facts["uncertain_below"]) == ({"accuracy": 0.5}, "centerface", 0.4)
    assert (facts["detector_origin"]["licence"], facts["detector_origin"]["training_data"][:10]) == ("MIT", "WIDER FACE")


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
        assert (answer.status_code, error_of(answer)) == (422, "face_not_found" if query == "face=2" else "invalid_parameter")


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


def test_the_openapi_document_names_every_route_and_refusal(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    pictures = {"/predict", "/predict/batch", "/annotate", "/explain"}
    videos = {"/video", "/video/{job}", "/video/{job}/events", "/video/{job}/files/{name}"}
    device = {"/model/device", "/model/network", "/model/detector", "/model/runtime"}
    feedback = {"/feedback", "/feedback/{receipt}"}
    assert set(document["paths"]) == {*pictures, *videos, *device, *feedback, "/model", "/card", "/admin/reload"}
    for path in pictures:
        post = document["paths"][path]["post"]
        assert post["security"] == [{"HTTPBearer": []}]
        assert set(post["responses"]) == {"200", "400", "401", "403", "408", "413", "415", "422", "429"}
        assert post["responses"]["422"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorAnswer")
        assert f"127.0.0.1:3000{path}" in post["requestBody"]["content"]["multipart/form-data"]["examples"]["curl"]["summary"]
    example = document["components"]["schemas"]["Face"]["properties"]["probabilities"]["examples"][0]
    assert sum(example.values()) == pytest.approx(1)
