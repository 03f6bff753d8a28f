from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.robustness.corruptions import (
    CORRUPTIONS,
    Corruption,
)
from fer_pipeline.analysis.robustness.measure import corrupt, measure_robustness
from fer_pipeline.data.table.dataset import FaceDataset

RNG = np.random.default_rng(0)


FACE = np.clip(RNG.normal(120, 50, (48, 48)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda corruption: corruption.name)
def test_equal_seeds_give_equal_pictures(corruption: Corruption) -> None:
    images = np.stack([FACE, FACE])[..., None]
    made = [corrupt(images, corruption, corruption.strengths[2], np.random.default_rng(5)) for _ in range(2)]
    np.testing.assert_array_equal(made[0], made[1])
    assert made[0].shape == (2, 48, 48, 1)


def test_brightness_model_is_hurt_by_light_alone(
    make_stripes: Callable[[int, int], FaceDataset],
) -> None:
    """A model that looks at brightness falls to light and to nothing else."""
    faces = make_stripes(70, 0)

    def bright(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:  # the right answer, unless a picture is dark or bright
        means = inputs.mean(axis=(1, 2, 3))
        return np.eye(7)[np.where((means > 100) & (means < 140), faces.labels, (faces.labels + 1) % 7)]

    result = measure_robustness(faces, bright, resamples=50)
    means = {curve.corruption.name: curve.mean for curve in result.curves}
    assert result.clean.estimate == 1.0
    assert max(means["darker"], means["brighter"]) < 0.1  # a few mean gray values stay in range at the mildest strength
    assert {name for name, mean in means.items() if mean == 1.0} == set(means) - {"darker", "brighter"}
    assert result.mean_corruption_accuracy.estimate == pytest.approx(6 / 8, abs=0.02)
    assert result.kept == pytest.approx(6 / 8, abs=0.02)


def test_a_part_of_the_pictures_is_drawn_by_the_seed(make_stripes: Callable[[int, int], FaceDataset]) -> None:
    faces, sizes = make_stripes(30, 0), []

    def first_class(inputs: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        sizes.append(len(inputs))
        return np.eye(7)[np.zeros(len(inputs), int)]

    results = [measure_robustness(faces, first_class, sample_size=10, resamples=20, seed=3) for _ in range(2)]
    assert set(sizes) == {10}
    assert results[0] == results[1]
    assert results[0].rows == 10
