from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.saliency import PATCH, draw_heat_map, occlusion_maps
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
def maps(brightness_model: Path) -> npt.NDArray[np.float64]:
    """The maps of a face with a bright spot."""
    face = np.zeros((48, 48, 1), np.uint8)
    face[SPOT] = 255
    return occlusion_maps(face, SpotClassifier(None, EmotionClassifier.load(brightness_model).info).probabilities)


def test_what_decides_is_important_and_the_rest_is_not(maps: npt.NDArray[np.float64]) -> None:
    assert (maps.shape, maps.dtype) == ((7, 48, 48), np.float64)
    importance = maps[HAPPY]
    assert importance[SPOT].min() > 0.5
    row, column = np.unravel_index(importance.argmax(), importance.shape)
    assert 12 <= row < 20
    assert 28 <= column < 36
    far = importance.copy()
    far[12 - PATCH : 20 + PATCH, 28 - PATCH : 36 + PATCH] = 0
    assert np.abs(far).max() == 0


def test_what_speaks_against_an_emotion_is_negative(maps: npt.NDArray[np.float64]) -> None:
    assert maps[SAD][SPOT].max() < 0


def test_the_heat_map_is_red_for_blue_against_and_else_gray() -> None:
    importance = np.zeros((48, 48))
    importance[:24, :24], importance[24:, 24:] = 3.0, -3.0
    image = draw_heat_map(np.full((48, 48, 1), 100, np.uint8), importance)
    assert (image.shape, image.dtype) == ((336, 336, 3), np.uint8)
    red, blue, plain = image[10, 10].astype(int), image[300, 300].astype(int), image[10, 300]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert plain.tolist() == [100, 100, 100]
