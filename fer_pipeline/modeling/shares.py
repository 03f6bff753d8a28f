"""Intervals of shares that hold for few rows, and for none or all of them right, where the bootstrap gives no width."""

from __future__ import annotations

from typing import Final

from fer_pipeline.metrics.classification import Interval

_Z: Final = 1.959964  # of the standard normal distribution, two-sided 95 %


def share_interval(right: int, rows: int) -> Interval:
    """`right` of `rows`, at least one, with the 95 % interval of Wilson (1927)."""
    share, z2 = right / rows, _Z**2
    centre = (share + z2 / (2 * rows)) / (1 + z2 / rows)
    half = _Z * (share * (1 - share) / rows + z2 / (4 * rows**2)) ** 0.5 / (1 + z2 / rows)
    return Interval(share, max(centre - half, 0.0), min(centre + half, 1.0))
