"""Draw the emotions of people over the time of a video."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.drawing import COLOURS
from fer_pipeline.labels import EMOTIONS

_BINS, _ROWS = 480, 120
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MAX_TICKS = 8  # that fit a phone


@dataclass(frozen=True)
class Timeline:
    """The seven emotions of people from 0 to `end` seconds.

    `bands` has for each track the data URI of a PNG that may be stretched: the smoothed probabilities as stacked colours, and
    transparent where the person was not seen. `ticks` are moments in seconds.
    """

    end: float
    bands: dict[int, str]
    ticks: tuple[float, ...]


def draw_timeline(table: Path, tracks: list[int], seconds: float) -> Timeline:
    """Draw a band per person from a faces.jsonl, of a video of `seconds`."""
    end = max(seconds, 0.1)
    means = _mean_probabilities(table, tracks, end)
    step = next((tick for tick in _TICKS if end / tick <= _MAX_TICKS), end / _MAX_TICKS)
    ticks = tuple(index * step for index in range(int(end / step + 1e-9) + 1))
    return Timeline(end, {track: _uri(_bands(means[track])) for track in tracks}, ticks)


def _uri(image: UInt8Array) -> str:
    _, data = cv2.imencode(".png", image)
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode()


def _mean_probabilities(table: Path, tracks: list[int], end: float) -> dict[int, npt.NDArray[np.float64]]:
    """Average the smoothed probabilities over time bins: (bins, 7) by track.

    NaN where the person was not seen.
    """
    sums = {track: np.zeros((_BINS, len(EMOTIONS) + 1)) for track in tracks}
    with table.open(encoding="utf-8") as lines:
        for line in lines:  # one at a time: the table grows with the length of the video
            row = json.loads(line)
            if row["track"] in sums:
                values = [row["smoothed"][emotion] for emotion in EMOTIONS]
                sums[row["track"]][min(int(row["time"] / end * _BINS), _BINS - 1)] += [*values, 1]
    means = {}
    for track, total in sums.items():
        counts = total[:, -1:]
        mean = np.divide(total[:, :-1], counts, out=np.full((_BINS, len(EMOTIONS)), np.nan), where=counts > 0)
        means[track] = _bridged(mean)
    return means


def _bridged(means: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    # A short video has fewer frames than the image has columns: each column without a frame shows the one before it.
    seen = np.flatnonzero(~np.isnan(means[:, 0]))
    gap = 2 * int(np.median(np.diff(seen))) if len(seen) > 1 else 1
    filled = means.copy()
    for left, right in zip(seen, [*seen[1:], min(int(seen[-1]) + gap, _BINS)] if len(seen) else [], strict=True):
        if right - left <= max(gap, 2):
            filled[left:right] = means[left]
    return filled


def _bands(means: npt.NDArray[np.float64]) -> UInt8Array:
    """Draw the probabilities of each bin as stacked bands, BGRA (rows, bins, 4).

    Transparent where NaN.
    """
    image = np.zeros((_ROWS, _BINS, 4), np.uint8)
    heights = np.arange(_ROWS)[:, np.newaxis] / _ROWS
    bounds = np.cumsum(means, axis=1)
    below = np.zeros(_BINS)
    for index, emotion in enumerate(EMOTIONS):
        above = bounds[:, index] if index < len(EMOTIONS) - 1 else np.where(np.isnan(bounds[:, index]), np.nan, 1.0)
        image[(heights >= below) & (heights < above)] = (*reversed(COLOURS[emotion]), 255)
        below = above
    return image
