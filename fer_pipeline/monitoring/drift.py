"""Test whether a window of predictions differs from the reference.

Five quantities are compared: confidence, brightness, contrast and sharpness by the two-sample Kolmogorov-Smirnov test, the
emotion mix by the chi-square test of homogeneity. P-values are corrected for the five tests by Holm (1979), so that drift is
reported in a window without drift with probability `alpha` at most. In a large window a tiny difference is significant: a
quantity has drifted only if its population stability index (PSI) is large enough as well; by convention (Siddiqi 2006) 0.1 is a
shift, 0.25 a large one.

The tests assume independent predictions. Many images of one person or one scene are not independent and look like drift.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from fer_pipeline.config.params import DriftParams
from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring.observations import Floats, Observations

IMAGE_QUANTITIES = ("brightness", "contrast", "sharpness")
EMOTION_MIX = "emotion mix"

_BINS = 10
_MIN_EXPECTED = 5.0  # below it the chi-square distribution is a poor approximation (Cochran 1954)


@dataclass(frozen=True)
class Comparison:
    """Comparison of one quantity.

    `adjusted_p` is Holm's, `reason` describes the result; `before` and `now` are medians, None for the emotion mix.
    """

    name: str
    test: str
    statistic: float
    p_value: float
    adjusted_p: float
    psi: float
    before: float | None
    now: float | None
    drifted: bool
    reason: str


@dataclass(frozen=True)
class DriftResult:
    """Result on `rows` predictions against `reference_rows`.

    No comparisons where there are too few rows.
    """

    rows: int
    reference_rows: int
    comparisons: tuple[Comparison, ...]
    params: DriftParams

    @property
    def judged(self) -> bool:
        """Return whether there were enough rows."""
        return bool(self.comparisons)

    @property
    def drifted(self) -> bool:
        """Return whether any quantity has drifted."""
        return any(comparison.drifted for comparison in self.comparisons)

    @property
    def verdict(self) -> str:
        """Return the result in one line."""
        if not self.judged:
            return f"not judged: {self.rows:,} predictions, at least {self.params.min_rows:,} are needed"
        names = [comparison.name for comparison in self.comparisons if comparison.drifted]
        return f"drift in {', '.join(names)}" if names else f"no drift in {self.rows:,} predictions"


def compare(
    reference: Observations, window: Observations, params: DriftParams, image_quantities: tuple[str, ...] = IMAGE_QUANTITIES
) -> DriftResult:
    """Compare a window of predictions with the reference.

    `image_quantities` are those of `IMAGE_QUANTITIES` to compare. Raises `MonitoringError` where the reference has fewer than
    `params.min_rows` rows.
    """
    if len(reference) < params.min_rows:
        raise MonitoringError(f"the reference has {len(reference)} rows, expected at least {params.min_rows} (drift.min_rows)")
    if len(window) < params.min_rows:
        return DriftResult(len(window), len(reference), (), params)
    names = ("confidence", *image_quantities)
    pairs = [(getattr(reference, name), getattr(window, name)) for name in names]
    before, now = reference.emotion_counts, window.emotion_counts
    found = [stats.ks_2samp(old, new, method="asymp") for old, new in pairs]
    mix_statistic, mix_p = _chi_square(before, now)
    adjusted = holm([*(float(one.pvalue) for one in found), mix_p])
    psis = [*(psi(*binned(old, new)) for old, new in pairs), psi(before, now)]
    flags = [p < params.alpha and index >= params.min_psi for p, index in zip(adjusted, psis, strict=True)]
    comparisons = []
    for n, (name, (old, new)) in enumerate(zip(names, pairs, strict=True)):
        medians = float(np.median(old)), float(np.median(new))
        what = "median {1}, was {0}".format(*(f"{median:,.0f}" if median >= 100 else f"{median:.3g}" for median in medians))
        reason = _reason(what, psis[n], adjusted[n], params)
        test, statistic = "Kolmogorov-Smirnov", float(found[n].statistic)
        comparisons.append(
            Comparison(name, test, statistic, float(found[n].pvalue), adjusted[n], psis[n], *medians, flags[n], reason)
        )
    reason = _reason(_moved(before, now), psis[-1], adjusted[-1], params)
    comparisons.append(
        Comparison(EMOTION_MIX, "chi-square", mix_statistic, mix_p, adjusted[-1], psis[-1], None, None, flags[-1], reason)
    )
    return DriftResult(len(window), len(reference), tuple(comparisons), params)


def holm(p_values: list[float]) -> list[float]:
    """Correct p-values for multiple tests by Holm's step-down rule, at most 1."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(np.argsort(p_values)):
        largest = max(largest, min(1.0, p_values[index] * (len(p_values) - rank)))
        adjusted[index] = largest
    return adjusted


def binned(reference: Floats, window: Floats) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count both samples (B,) in the deciles of the reference.

    Fewer bins where deciles coincide.
    """
    inner = np.unique(np.quantile(reference, np.linspace(0, 1, _BINS + 1)[1:-1]))
    first, second = (
        np.bincount(np.searchsorted(inner, values, side="right"), minlength=len(inner) + 1) for values in (reference, window)
    )
    return first, second


def psi(reference: npt.NDArray[np.int64], window: npt.NDArray[np.int64]) -> float:
    """Compute the population stability index of two histograms (B,).

    0 for equal shares. Half a row is added to each bin, so that an empty bin does not make it infinite.
    """
    old, new = ((counts + 0.5) / (counts + 0.5).sum() for counts in (reference, window))
    return float(np.sum((new - old) * np.log(new / old)))


def as_values(result: DriftResult) -> dict[str, Any]:
    """Return plain values for JSON."""
    return {
        "drifted": result.drifted,
        "judged": result.judged,
        "verdict": result.verdict,
        "rows": result.rows,
        "reference_rows": result.reference_rows,
        "bounds": result.params.model_dump(mode="json"),
        "comparisons": [vars(comparison) for comparison in result.comparisons],
    }


def _chi_square(before: npt.NDArray[np.int64], now: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return statistic and p-value; emotions too rare for the test are merged."""
    table = np.stack([before, now]).astype(np.float64)
    expected = table.sum(axis=0) * (table.sum(axis=1, keepdims=True) / table.sum())
    rare = expected.min(axis=0) < _MIN_EXPECTED
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(axis=1, keepdims=True)], axis=1)
    if table[:, -1].sum() == 0:
        table = table[:, :-1]
    if table.shape[1] < 2:  # one emotion alone in both
        return 0.0, 1.0
    outcome = stats.chi2_contingency(table)
    return float(outcome.statistic), float(outcome.pvalue)


def _moved(before: npt.NDArray[np.int64], now: npt.NDArray[np.int64]) -> str:
    old, new = before / before.sum(), now / now.sum()
    most = int(np.argmax(np.abs(new - old)))
    return f"{EMOTIONS[most]} {100 * new[most]:.1f} %, was {100 * old[most]:.1f} %"


def _reason(what: str, index: float, adjusted: float, params: DriftParams) -> str:
    large, significant = index >= params.min_psi, adjusted < params.alpha
    size = f"PSI {index:.3f}, {'at least' if large else 'below'} {params.min_psi:g}"
    return f"{what}; {size}; corrected p {adjusted:.2g}, {'below' if significant else 'not below'} {params.alpha:g}"
