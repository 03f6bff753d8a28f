from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.analysis.label_noise.confident_learning import find_noise


def known(labels: list[int], probabilities: list[dict[int, float]]) -> tuple[np.ndarray, np.ndarray]:
    table = np.zeros((len(labels), 7))
    for row, some in enumerate(probabilities):
        for label, probability in some.items():
            table[row, label] = probability
    return np.array(labels), table


def test_a_label_is_suspicious_where_another_class_is_likely() -> None:
    """A label is suspicious where another class reaches its threshold."""
    labels, probabilities = known(
        [0, 0, 0, 3, 3, 3],
        [{0: 0.9, 3: 0.1}, {0: 0.8, 3: 0.2}, {0: 0.1, 3: 0.9}, {3: 0.7, 0: 0.3}, {3: 0.5, 0: 0.5}, {3: 0.6, 4: 0.4}],
    )
    noise = find_noise(labels, probabilities)
    np.testing.assert_allclose(noise.thresholds[[0, 3]], [0.6, 0.6])
    assert noise.thresholds[4] == np.inf  # no row has this label
    assert noise.suspicious.tolist() == [False, False, True, False, False, False]
    assert noise.suggested.tolist() == [0, 0, 3, 3, 3, 3]
    assert noise.confident[0, [0, 3]].tolist() == [2, 1]
    assert noise.confident[3, 3] == 2  # row 4 passes no threshold and is not counted
    np.testing.assert_allclose(noise.joint[0, [0, 3]], [1 / 3, 1 / 6])
    assert noise.joint.sum() == pytest.approx(1)
    assert noise.share == pytest.approx(1 / 6)
    np.testing.assert_allclose(noise.rates[0, [0, 3]], [2 / 3, 1 / 3])
    np.testing.assert_allclose(noise.margin, [0.8, 0.6, -0.8, 0.4, 0.0, 0.2])
    assert noise.ranking.tolist() == [2]


def test_the_estimate_finds_the_noise_that_was_put_in() -> None:
    rng = np.random.default_rng(0)
    true = rng.integers(7, size=7000)
    labels = np.where(rng.random(7000) < 0.2, (true + 1) % 7, true)
    probabilities = rng.dirichlet(np.ones(7), 7000) * 0.3
    probabilities[np.arange(7000), true] += 0.7
    noise = find_noise(labels, probabilities)
    assert noise.share == pytest.approx((labels != true).mean(), abs=0.01)
    found = noise.suspicious & (noise.suggested == true)
    assert found.sum() / (labels != true).sum() > 0.95
    assert (noise.suspicious & (labels == true)).mean() < 0.01
