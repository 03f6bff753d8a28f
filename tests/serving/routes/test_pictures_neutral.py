"""A neutral picture of the same person beside the picture of POST /predict."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.recognizer import Recognizer
from tests.serving.asking import client_of, error_of


@pytest.fixture
def client(brightness_model: Path) -> TestClient:
    return client_of(Recognizer.load(brightness_model))


def test_faces_are_read_relative_to_the_neutral_picture(
    client: TestClient, brightness_model: Path, drawn_face: UInt8Array
) -> None:
    picture, dark = encode_png(drawn_face), encode_png(np.asarray(0.5 * drawn_face, np.uint8))
    answer = client.post("/predict", files={"picture": dark, "neutral": picture}).json()
    recognizer = Recognizer.load(brightness_model)
    (expected,) = recognizer.recognize(dark, neutral=picture)
    assert answer["faces"][0]["probabilities"] == expected.as_dict()["probabilities"]
    assert answer["faces"][0]["neutral_reference"] == "given"
    (plain,) = client.post("/predict", files={"picture": dark}).json()["faces"]
    assert (plain["neutral_reference"], plain["emotion"]) == (None, recognizer.recognize(dark)[0].emotion)
    whole = client.post("/predict?framing=face", files={"picture": picture, "neutral": picture}).json()
    assert whole["faces"][0]["emotion"] == "neutral"


@pytest.mark.parametrize("faces", [0, 2])
def test_a_neutral_picture_has_one_face(client: TestClient, drawn_face: UInt8Array, faces: int) -> None:
    picture = encode_png(drawn_face)
    neutral = encode_png(np.hstack([drawn_face] * faces) if faces else np.full((90, 120, 3), 128, np.uint8))
    refused = client.post("/predict", files={"picture": picture, "neutral": neutral})
    assert (refused.status_code, refused.json()["error"]["code"]) == (422, "unfit_neutral_picture")
    assert f"{faces or 'no'} face" in refused.json()["error"]["message"]


def test_other_fields_are_refused_as_before(client: TestClient, drawn_face: UInt8Array) -> None:
    picture = encode_png(drawn_face)
    assert error_of(client.post("/predict", files={"neutral": picture})) == "missing_picture"
    assert error_of(client.post("/predict", files={"picture": picture, "other": picture})) == "unexpected_field"
    assert error_of(client.post("/predict", files=[("picture", picture), ("neutral", picture), ("neutral", picture)])) == (
        "too_many_neutrals"
    )
    assert error_of(client.post("/predict", files={"picture": picture}, data={"neutral": "http://x/y.jpg"})) == "not_a_file"
    assert error_of(client.post("/predict", files={"picture": picture, "neutral": b"text"})) == "unsupported_picture"
    assert error_of(client.post("/annotate", files={"picture": picture, "neutral": picture})) == "unexpected_field"
