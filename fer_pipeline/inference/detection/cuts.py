"""Find hard cuts between successive frames of a video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import UInt8Array, shrink

MIN_CHANGE = 20.0
"""Mean change of the gray levels of a cut.

In the development videos frames without a cut change by at most 6, in pans and zooms over photographs by 35; two different
photographs differ by 40 or more in 99 of 100 pairs.
"""

MIN_MEDIAN_CHANGE = 8.0
"""Median change of a cut: what appears in a part of the picture is none."""

MIN_RISE = 1.8
"""Change of a cut beyond `_SLACK` gray levels, in units of the mean change of the frames before it."""

MIN_HISTOGRAM_CHANGE = 0.1
"""Share of the pixels of a cut that change their bin in the histogram; pans and zooms stay below 0.07."""

_STRIDED, _SIDE = 160, 32  # longer side after leaving out pixels, and then after averaging, which removes noise
_BINS = np.linspace(-256, 256, 33)
_SLACK = 10.0
_MEMORY = 0.8  # weight of the frames before in the mean change


class CutDetector:
    """Compares each frame with the one before it; not safe for several threads.

    A change of brightness that all pixels share is taken out first: neither a flash nor an exposure that adapts is a cut. A
    pan changes the pixels, but hardly their histogram; noise and fast motion change each frame as much as the one before.
    """

    def __init__(self) -> None:
        self._before: npt.NDArray[np.float32] | None = None
        self._mean_change = 0.0

    def is_cut(self, image: UInt8Array) -> bool:
        """Return whether a cut lies between the frame before and this one.

        `image` is RGB (H, W, 3) or gray (H, W). A frame of another shape than the one before begins anew without a cut.
        """
        step = max(1, max(image.shape[:2]) // _STRIDED)
        sample = shrink(np.ascontiguousarray(image[::step, ::step]), _SIDE).astype(np.float32)
        before, self._before = self._before, sample
        if before is None or before.shape != sample.shape:
            self._mean_change = 0.0
            return False
        brighter = _median(sample - before)
        changes = np.abs(sample - before - brighter)
        change = float(changes.mean())
        usual, self._mean_change = self._mean_change, _MEMORY * self._mean_change + (1 - _MEMORY) * change
        if change < max(MIN_CHANGE, MIN_RISE * usual + _SLACK) or _median(changes) < MIN_MEDIAN_CHANGE:
            return False
        if _histogram_change(before, sample - brighter) < MIN_HISTOGRAM_CHANGE:
            return False
        self._mean_change = 0.0  # what was usual before the cut says nothing about what follows
        return True


def _median(values: npt.NDArray[np.float32]) -> float:
    # np.median imports numpy.ma at its first call, which the enclosed process of an uploaded video cannot.
    return float(np.sort(values, axis=None)[values.size // 2])


def _histogram_change(first: npt.NDArray[np.float32], second: npt.NDArray[np.float32]) -> float:
    channels = [sample.reshape(sample.shape[0] * sample.shape[1], -1).T for sample in (first, second)]
    moved = [np.abs(np.histogram(a, _BINS)[0] - np.histogram(b, _BINS)[0]).sum() for a, b in zip(*channels, strict=True)]
    return float(sum(moved) / (2 * first.size))
