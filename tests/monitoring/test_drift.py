from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.config.params import DriftParams
from fer_pipeline.errors import MonitoringError
from fer_pipeline.monitoring import drift
from fer_pipeline.monitoring.observations import Observations

MIX = np.array([0.14, 0.02, 0.14, 0.25, 0.17, 0.11, 0.17])


def observations(rows: int, rng: np.random.Generator, mix: np.ndarray = MIX) -> Observations:  # type: ignore[type-arg]
    """Predictions as a service would log them, with the given mix of emotions."""
    best = rng.choice(7, size=rows, p=mix / mix.sum())
    confidence = rng.beta(5, 2, rows) * 0.8 + 0.2
    probabilities = np.repeat(((1 - confidence) / 6)[:, np.newaxis], 7, axis=1)
    probabilities[np.arange(rows), best] = confidence
    return Observations(probabilities, rng.lognormal(7.5, 0.8, rows), rng.normal(128, 30, rows), rng.normal(58, 12, rows))


@pytest.fixture(scope="module")
def reference() -> Observations:
    return observations(3000, np.random.default_rng(1))


def changed(window: Observations, **values: float) -> Observations:
    """The window with quantities multiplied."""
    rest = {name: getattr(window, name) * values.get(name, 1.0) for name in drift.IMAGE_QUANTITIES}
    return Observations(window.probabilities, **rest)


def drifted(result: drift.DriftResult) -> set[str]:
    return {one.name for one in result.comparisons if one.drifted}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"brightness": 0.7, "contrast": 0.7}, {"brightness", "contrast"}),  # a darker camera
        ({"sharpness": 0.4}, {"sharpness"}),  # a lens out of focus
    ],
)
def test_a_darker_or_blurred_camera_fires_and_is_named(
    reference: Observations, values: dict[str, float], expected: set[str]
) -> None:
    window = changed(observations(400, np.random.default_rng(2)), **values)
    result = drift.compare(reference, window, DriftParams())
    assert drifted(result) == expected
    assert result.drifted
    assert all(name in result.verdict for name in expected)


def test_another_emotion_mix_is_drift_and_names_the_emotion(reference: Observations) -> None:
    """Another mix of emotions fires and says which emotion moved."""
    mix = MIX.copy()
    mix[3], mix[6] = 0.08, 0.34  # hardly anybody smiles
    result = drift.compare(reference, observations(400, np.random.default_rng(2), mix), DriftParams())
    assert drifted(result) == {drift.EMOTION_MIX}
    assert "neutral" in result.comparisons[-1].reason or "happy" in result.comparisons[-1].reason


def test_without_drift_it_stays_quiet(reference: Observations) -> None:
    alarms = sum(
        drift.compare(reference, observations(250, np.random.default_rng(seed)), DriftParams()).drifted for seed in range(300)
    )
    assert alarms <= 6  # alpha is 0.01, so 3 are expected at most; more than 6 has probability 0.03 even then


def test_a_trifle_is_no_drift_however_many_rows_prove_it(reference: Observations) -> None:
    window = changed(observations(200_000, np.random.default_rng(3)), brightness=1.03)
    result = drift.compare(observations(200_000, np.random.default_rng(4)), window, DriftParams())
    brightness = next(one for one in result.comparisons if one.name == "brightness")
    assert brightness.adjusted_p < 1e-6
    assert brightness.psi < 0.1
    assert not result.drifted


def test_too_few_predictions_are_not_judged(reference: Observations) -> None:
    result = drift.compare(reference, observations(199, np.random.default_rng(0)), DriftParams())
    assert not result.judged
    assert not result.drifted
    assert "at least 200" in result.verdict


def test_too_small_a_reference_is_an_error(reference: Observations) -> None:
    with pytest.raises(MonitoringError, match=r"reference has 199 rows.*drift.min_rows"):
        drift.compare(observations(199, np.random.default_rng(0)), reference, DriftParams())


def test_a_window_of_one_emotion_alone_can_be_judged(reference: Observations) -> None:
    only = np.eye(7)[3]
    result = drift.compare(reference, observations(300, np.random.default_rng(0), only), DriftParams())
    assert drift.EMOTION_MIX in drifted(result)


def test_holm_gives_the_values_of_its_textbook_example() -> None:
    assert drift.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert drift.holm([0.6, 0.9]) == [1.0, 1.0]


def test_the_psi_of_equal_shares_is_zero_and_of_two_bins_known() -> None:
    """The stability index is zero for equal shares and known for two bins."""
    assert drift.psi(np.array([10, 20, 30]), np.array([10, 20, 30])) == 0.0
    counts = np.array([5_000_000, 5_000_000]), np.array([7_500_000, 2_500_000])  # so many that the half row does not matter
    assert drift.psi(*counts) == pytest.approx(0.25 * np.log(3))


def test_equal_values_fall_into_equal_bins() -> None:
    flat = np.full(500, 7.0)
    first, second = drift.binned(flat, flat)
    assert drift.psi(first, second) == 0.0
