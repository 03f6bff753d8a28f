from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.occlusion import PATCH, heat_picture, occlusion_map
from fer_pipeline.labels import emotion_index

HAPPY, SAD = emotion_index("happy"), emotion_index("sad")
SPOT = (slice(12, 20), slice(28, 36))


class SpotClassifier(EmotionClassifier):
    """Happy in so far as one spot of the face is bright."""

    def logits(self, inputs: UInt8Array) -> npt.NDArray[np.float32]:
        logits = np.zeros((len(inputs), 7), np.float32)
        logits[:, HAPPY] = inputs[:, SPOT[0], SPOT[1], 0].mean(axis=(1, 2)) / 25
        return logits


@pytest.fixture
def classifier(brightness_model: Path) -> EmotionClassifier:
    return SpotClassifier(None, EmotionClassifier.load(brightness_model).info)


@pytest.fixture
def face() -> UInt8Array:
    face = np.zeros((48, 48, 1), np.uint8)
    face[SPOT] = 255
    return face


def test_what_decides_is_important_and_the_rest_is_not(classifier: EmotionClassifier, face: UInt8Array) -> None:
    importance = occlusion_map(classifier, face, HAPPY)
    assert (importance.shape, importance.dtype) == ((48, 48), np.float64)
    assert importance[SPOT].min() > 0.5
    row, column = np.unravel_index(importance.argmax(), importance.shape)
    assert 12 <= row < 20
    assert 28 <= column < 36
    far = importance.copy()
    far[12 - PATCH : 20 + PATCH, 28 - PATCH : 36 + PATCH] = 0
    assert np.abs(far).max() == 0


def test_what_speaks_against_an_emotion_is_negative(classifier: EmotionClassifier, face: UInt8Array) -> None:
    assert occlusion_map(classifier, face, SAD)[SPOT].max() < 0


def test_a_class_id_beyond_the_seven_is_an_error(classifier: EmotionClassifier, face: UInt8Array) -> None:
    with pytest.raises(ParamsError, match="class id"):
        occlusion_map(classifier, face, 7)


def test_the_picture_is_red_for_and_blue_against_and_gray_where_it_does_not_matter(face: UInt8Array) -> None:
    importance = np.zeros((48, 48))
    importance[:24, :24], importance[24:, 24:] = 3.0, -3.0
    picture = heat_picture(np.full((48, 48, 1), 100, np.uint8), importance)
    assert (picture.shape, picture.dtype) == ((336, 336, 3), np.uint8)
    red, blue, plain = picture[10, 10].astype(int), picture[300, 300].astype(int), picture[10, 300]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert plain.tolist() == [100, 100, 100]
