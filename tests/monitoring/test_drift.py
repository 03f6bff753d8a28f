from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

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


def known(confidence: float, emotions: list[int], brightness: np.ndarray) -> Observations:  # type: ignore[type-arg]
    """Predictions of known emotions, all equally sure and of the same contrast and sharpness."""
    probabilities = np.full((len(emotions), 7), (1 - confidence) / 6)
    probabilities[np.arange(len(emotions)), emotions] = confidence
    flat = np.full(len(emotions), 50.0)
    return Observations(probabilities, flat, np.asarray(brightness, float), flat)


FEW = DriftParams(min_rows=50)
ONES = known(0.5, [3] * 60 + [6] * 40, np.arange(100))


def test_each_comparison_says_what_was_found() -> None:
    """The brightness of half of the window lies above all of the reference: statistic and index are known."""
    window = known(0.5, [3] * 20 + [6] * 60 + [0] * 20, np.r_[np.arange(0, 100, 2), np.full(50, 1000.0)])
    result = drift.compare(ONES, window, FEW)
    assert [one.name for one in result.comparisons] == ["confidence", "brightness", "contrast", "sharpness", "emotion mix"]
    assert [one.test for one in result.comparisons] == ["Kolmogorov-Smirnov"] * 4 + ["chi-square"]
    same, bright, *_, mix = result.comparisons
    assert (same.statistic, same.p_value, same.adjusted_p, same.psi, same.drifted) == (0, 1, 1, 0, False)
    assert same.reason == "median 0.5, was 0.5; PSI 0.000, below 0.1; corrected p 1, not below 0.01"
    old, new = (np.array(rows) + 0.5 for rows in ([10] * 10, [5] * 9 + [55]))
    index = float(np.sum((new / new.sum() - old / old.sum()) * np.log(new / new.sum() / (old / old.sum()))))
    assert (bright.statistic, bright.psi, bright.before, bright.now) == pytest.approx((0.5, index, 49.5, 549))
    exact = stats.ks_2samp(np.arange(100), window.brightness, method="exact").pvalue
    assert bright.p_value != exact  # which takes long for large windows
    assert bright.p_value == stats.ks_2samp(np.arange(100), window.brightness, method="asymp").pvalue
    assert (bright.adjusted_p, bright.drifted) == (pytest.approx(5 * bright.p_value), True)
    assert bright.reason.startswith(f"median 549, was 49.5; PSI {index:.3f}, at least 0.1; corrected p ")
    assert bright.reason.endswith(", below 0.01")
    assert mix.statistic == pytest.approx(2 * (20**2 / 40 + 10**2 / 50 + 10**2 / 10))  # [[60, 40, 0], [20, 60, 20]]
    old, new = (np.array([*counts, 0, 0, 0, 0]) + 0.5 for counts in ([60, 40, 0], [20, 60, 20]))
    assert mix.psi == pytest.approx(np.sum((new - old) / 103.5 * np.log(new / old)))
    assert mix.adjusted_p == pytest.approx(4 * mix.p_value)  # the second smallest of five
    words = f"happy 20.0 %, was 60.0 %; PSI {mix.psi:.3f}, at least 0.1; corrected p {mix.adjusted_p:.2g}, below 0.01"
    assert mix.reason == words
    assert (mix.before, mix.now, mix.drifted) == (None, None, True)
    assert result.verdict == "drift in brightness, emotion mix"


def test_thresholds_are_met_by_their_own_value() -> None:
    """An index of exactly the bound is large, a p-value of exactly the bound is not significant."""
    window = known(0.5, [3] * 60 + [6] * 40, np.arange(100) + 40)
    (found,) = (one for one in drift.compare(ONES, window, FEW).comparisons if one.name == "brightness")
    at_index = FEW.model_copy(update={"min_psi": found.psi})
    at_p = FEW.model_copy(update={"alpha": found.adjusted_p})
    (large,), (unsure,) = (
        [one for one in drift.compare(ONES, window, params).comparisons if one.name == "brightness"]
        for params in (at_index, at_p)
    )
    assert (large.drifted, f", at least {found.psi:g};" in large.reason) == (True, True)
    assert (unsure.drifted, f", not below {found.adjusted_p:g}" in unsure.reason) == (False, True)


@pytest.mark.parametrize("rows", [50, 51])
def test_the_least_number_of_rows_is_enough(rows: int) -> None:
    some = known(0.5, [3] * rows, np.arange(rows))
    result = drift.compare(some, some, FEW)
    assert (result.judged, result.drifted, result.rows, result.reference_rows) == (True, False, rows, rows)
    assert result.verdict == f"no drift in {rows} predictions"
    assert (result.comparisons[-1].statistic, result.comparisons[-1].p_value) == (0, 1)  # one emotion alone


def test_a_window_of_too_few_rows_is_counted() -> None:
    result = drift.compare(ONES, known(0.5, [3] * 49, np.arange(49)), FEW)
    assert (result.rows, result.reference_rows, result.comparisons) == (49, 100, ())
    assert result.verdict == "not judged: 49 predictions, at least 50 are needed"


@pytest.mark.parametrize(("rare", "pooled"), [(5, False), (4, True)])
def test_rare_emotions_are_taken_together(rare: int, pooled: bool) -> None:
    """Expected counts below 5 are pooled: fear and disgust of 4 each in both windows become one column of 8."""
    moved = [3] * 50 + [6] * 10 + [1] * rare + [2] * rare
    stay = [3] * 40 + [6] * 20 + [1] * rare + [2] * rare
    result = drift.compare(known(0.5, stay, np.zeros(len(stay))), known(0.5, moved, np.zeros(len(moved))), FEW)
    columns = [[40, 20, 2 * rare], [50, 10, 2 * rare]] if pooled else [[40, 20, rare, rare], [50, 10, rare, rare]]
    expected = [[45, 15] + [count] * (1 if pooled else 2) for count in [2 * rare if pooled else rare] * 2]
    statistic = sum(
        (o - e) ** 2 / e for row, means in zip(columns, expected, strict=True) for o, e in zip(row, means, strict=True)
    )
    assert result.comparisons[-1].statistic == pytest.approx(statistic)
    degrees = 2 if pooled else 3
    tail = np.exp(-statistic / 2)  # of the chi-square distribution with two degrees of freedom
    assert (result.comparisons[-1].p_value == pytest.approx(tail)) == (degrees == 2)


def test_values_on_an_edge_fall_into_the_upper_bin() -> None:
    """The deciles of 0 to 10 are 1 to 9; what lies outside of the reference falls into the first or last bin."""
    first, second = drift.binned(np.arange(11.0), np.array([-5, 0.5, 1, 1.5, 9, 9.5, 100]))
    assert (len(first), first.sum()) == (10, 11)
    assert second.tolist() == [2, 2] + [0] * 7 + [3]


def test_an_empty_bin_counts_as_half_a_row() -> None:
    assert drift.psi(np.array([9, 0]), np.array([0, 9])) == pytest.approx(2 * 0.9 * np.log(19))


def test_results_are_plain_values() -> None:
    values = json.loads(json.dumps(drift.as_values(drift.compare(ONES, ONES, FEW, ("contrast",)))))
    assert {name: values[name] for name in ("drifted", "judged", "verdict", "rows", "reference_rows")} == {
        "drifted": False,
        "judged": True,
        "verdict": "no drift in 100 predictions",
        "rows": 100,
        "reference_rows": 100,
    }
    assert values["bounds"] == {"alpha": 0.01, "min_psi": 0.1, "min_rows": 50, "max_window_hours": 168.0}
    assert [one["name"] for one in values["comparisons"]] == ["confidence", "contrast", "emotion mix"]
    assert set(values["comparisons"][0]) == {
        *("name", "test", "statistic", "p_value", "adjusted_p", "psi", "before", "now", "drifted", "reason")
    }
