"""Draw the emotions of people over the time of a video as an SVG."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_pipeline.imaging import UInt8Array, encode_png
from fer_pipeline.inference.drawing import COLOURS
from fer_pipeline.labels import EMOTIONS

_BINS, _ROWS = 480, 120
_PAPER = (255, 255, 255)

_WIDTH, _HEAD, _LEFT, _STEP, _BAND, _FOOT = 1000, 40, 90, 84, 72, 44  # in SVG units
_TICKS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600)
_MAX_TICKS = 12


def draw_timeline(table: Path, tracks: list[int], seconds: float) -> str:
    """Draw one row of stacked bands per person, as the data URI of an SVG.

    `table` is a faces.jsonl, `seconds` the time that the rows span. A row has the smoothed probabilities of the seven emotions
    as heights, white where the person was not seen.
    """
    end = max(seconds, 0.1)
    means = _mean_probabilities(table, tracks, end)
    parts = [_legend()]
    for row, track in enumerate(tracks):
        top = _HEAD + row * _STEP
        band = base64.b64encode(encode_png(_bands(means[track]))).decode()
        parts.append(f'<text x="{_LEFT - 8}" y="{top + _BAND / 2 + 4}" text-anchor="end">person {track}</text>')
        parts.append(
            f'<image x="{_LEFT}" y="{top}" width="{_WIDTH - _LEFT - 10}" height="{_BAND}" preserveAspectRatio="none" '
            f'style="image-rendering:pixelated" href="data:image/png;base64,{band}"/>'
        )
    bottom = _HEAD + len(tracks) * _STEP
    parts.append(_axis(end, bottom))
    height = bottom + _FOOT
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>'
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()


def _legend() -> str:
    step = (_WIDTH - _LEFT) // len(EMOTIONS)
    return "".join(
        f'<rect x="{_LEFT + index * step}" y="10" width="22" height="12" fill="rgb{COLOURS[emotion]}"/>'
        f'<text x="{_LEFT + index * step + 28}" y="21">{emotion}</text>'
        for index, emotion in enumerate(EMOTIONS)
    )


def _axis(end: float, y: float) -> str:
    step = next((tick for tick in _TICKS if end / tick <= _MAX_TICKS), end / _MAX_TICKS)
    scale = (_WIDTH - _LEFT - 10) / end
    marks = [(_LEFT + index * step * scale, f"{index * step:g}") for index in range(int(end / step + 1e-9) + 1)]
    lines = "".join(
        f'<path d="M{x:.1f} {y - 8}v6" stroke="black"/><text x="{x:.1f}" y="{y + 12}" text-anchor="middle">{text}</text>'
        for x, text in marks
    )
    return f'{lines}<text x="{(_LEFT + _WIDTH) / 2}" y="{y + 34}" text-anchor="middle">seconds</text>'


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
    """Draw the probabilities of each bin as stacked bands, RGB (rows, bins, 3).

    White where NaN.
    """
    image = np.full((_ROWS, _BINS, 3), _PAPER, np.uint8)
    heights = np.arange(_ROWS)[:, np.newaxis] / _ROWS
    bounds = np.cumsum(means, axis=1)
    below = np.zeros(_BINS)
    for index, emotion in enumerate(EMOTIONS):
        above = bounds[:, index] if index < len(EMOTIONS) - 1 else np.where(np.isnan(bounds[:, index]), np.nan, 1.0)
        image[(heights >= below) & (heights < above)] = COLOURS[emotion]
        below = above
    return image
