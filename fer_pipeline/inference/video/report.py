"""Write the report page of one video.

Needs jinja2 and matplotlib, unlike the service.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from fer_pipeline.imaging import UInt8Array, decode
from fer_pipeline.inference.drawing import COLOURS
from fer_pipeline.inference.video.summary import BRIEF_SECONDS, TrackSummary, VideoSummary
from fer_pipeline.inference.video.writers import CSV_FILE, JSONL_FILE, PARQUET_FILE, VIDEO_FILE, VTT_FILE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.components import Table, Thumbnail, fixed, percent
from fer_pipeline.reports.figures import themed
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import REPORT_FILE

MAX_PEOPLE = 12
"""Number of people with a timeline, those seen longest first."""

_BINS, _ROWS = 480, 120
_PAPER = (255, 255, 255)


def write_report(folder: Path, summary: VideoSummary) -> Path:
    """Write report.html from the files of a result folder, and return its path."""
    people = summary.people[:MAX_PEOPLE]
    write_page(
        folder / REPORT_FILE,
        "video_report.html",
        summary=summary,
        people=people,
        shares=_share_table(people),
        left_out=len(summary.people) - len(people),
        brief=len(summary.tracks) - len(summary.people),
        brief_seconds=BRIEF_SECONDS,
        timeline=_timeline(folder, summary, people) if people else None,
        peaks={person.track: _peaks(folder, person) for person in people},
        clock=_short_clock,
        files=[name for name in (VIDEO_FILE, VTT_FILE, CSV_FILE, PARQUET_FILE, JSONL_FILE) if (folder / name).exists()],
    )
    return folder / REPORT_FILE


def _short_clock(seconds: float) -> str:
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02d}.{tenths % 10}"


def _share_table(people: tuple[TrackSummary, ...]) -> Table:
    labels = [label for label in COLOURS if any(person.seconds.get(label) for person in people)]
    return Table(
        ("person", "seen", "from", "to", *labels, "label changes per minute", "before smoothing"),
        tuple(
            (
                str(person.track),
                f"{person.seen:.1f} s",
                _short_clock(person.first),
                _short_clock(person.last),
                *(percent(person.shares.get(label, 0)) for label in labels),
                fixed(60 * person.changes_smoothed / person.seen, 0),
                fixed(60 * person.changes_raw / person.seen, 0),
            )
            for person in people
        ),
    )


def _peaks(folder: Path, person: TrackSummary) -> list[Thumbnail]:
    """Return the frame in which each emotion peaked, highest probability first."""
    return [
        Thumbnail(
            decode((folder / peak.file).read_bytes()),
            f"Person {person.track} at {_short_clock(peak.time)}",
            (f"{emotion} {percent(peak.probability, 0)}", _short_clock(peak.time)),
            color=f"rgb{COLOURS[emotion]}",
        )
        for emotion, peak in sorted(person.peaks.items(), key=lambda item: -item[1].probability)
    ]


@themed
def _timeline(folder: Path, summary: VideoSummary, people: tuple[TrackSummary, ...]) -> Figure:
    end = max(summary.seconds, 0.1)
    means = _mean_probabilities(folder / JSONL_FILE, [person.track for person in people], end)
    figure = Figure(figsize=(11, 1.1 + 1.0 * len(people)))
    axes = figure.subplots(len(people), 1, sharex=True, squeeze=False)[:, 0]
    for axis, person in zip(axes, people, strict=True):
        axis.imshow(_bands(means[person.track]), extent=(0, end, 0, 1), aspect="auto", interpolation="nearest")
        axis.set_yticks([])
        axis.grid(visible=False)
        axis.set_ylabel(f"person {person.track}", rotation=0, ha="right", va="center")
    axes[-1].set_xlabel("seconds")
    patches = [Patch(color="#{:02x}{:02x}{:02x}".format(*COLOURS[emotion]), label=emotion) for emotion in EMOTIONS]
    figure.legend(handles=patches, loc="outside upper center", ncols=len(EMOTIONS))
    return figure


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
