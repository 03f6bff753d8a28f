from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.robustness.corruptions import (
    CORRUPTIONS,
    Corruption,
    blur,
    down_scaling,
    gain,
    noise,
    occlusion,
    rotation,
)

RNG = np.random.default_rng(0)


FACE = np.clip(RNG.normal(120, 50, (48, 48)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_a_corruption_does_more_harm_the_stronger_it_is(corruption: Corruption, drawn_face: npt.NDArray[np.uint8]) -> None:
    face = np.ascontiguousarray(drawn_face[100:292:4, 200:392:4, 0])
    made = [corruption.apply(face, strength, np.random.default_rng(1)) for strength in corruption.strengths]
    assert all(image.shape == (48, 48) and image.dtype == np.uint8 for image in made)
    harm = [np.abs(image.astype(float) - face).mean() for image in made]
    assert harm == sorted(harm)
    assert harm[0] > 0


def test_known_answers_of_the_corruptions() -> None:
    flat = np.full((48, 48), 100, np.uint8)
    rng = np.random.default_rng(0)
    assert np.std(noise(flat, 16, rng)) == pytest.approx(16, rel=0.1)
    np.testing.assert_array_equal(gain(flat, 1.5, rng), 150)
    np.testing.assert_array_equal(gain(flat, 3, rng), 255)
    for unchanged in (blur(flat, 2, rng), rotation(flat, 30, rng), down_scaling(flat, 10, rng), occlusion(flat, 0.3, rng)):
        np.testing.assert_array_equal(unchanged, 100)
    half = np.zeros((48, 48), np.uint8)
    half[:24] = 200
    assert (occlusion(half, 0.25, rng) == 100).sum() == 24 * 24  # its mean gray, on a quarter of the area
