"""Write the report page of one video.

Needs jinja2, unlike the service.
"""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.imaging import decode
from fer_pipeline.inference.drawing import COLOURS
from fer_pipeline.inference.video.summary import BRIEF_SECONDS, TrackSummary, VideoSummary
from fer_pipeline.inference.video.timeline import draw_timeline
from fer_pipeline.inference.video.writers import CSV_FILE, JSONL_FILE, PARQUET_FILE, VIDEO_FILE, VTT_FILE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.components import Table, Thumbnail, fixed, percent
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import REPORT_FILE

MAX_PEOPLE = 12
"""Number of people with a timeline, those seen longest first."""


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
        timeline=draw_timeline(folder / JSONL_FILE, [person.track for person in people], summary.seconds) if people else None,
        peaks={person.track: _peaks(folder, person) for person in people},
        clock=_short_clock,
        colours={emotion: f"rgb{COLOURS[emotion]}" for emotion in EMOTIONS},
        video=VIDEO_FILE if (folder / VIDEO_FILE).exists() else None,
        captions=VTT_FILE if (folder / VTT_FILE).exists() else None,
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


def _peaks(folder: Path, person: TrackSummary) -> list[tuple[float, Thumbnail]]:
    """Return moment and frame of each emotion's peak, highest probability first."""
    return [
        (
            peak.time,
            Thumbnail(
                decode((folder / peak.file).read_bytes()),
                f"Person {person.track} at {_short_clock(peak.time)}",
                (f"{emotion} {percent(peak.probability, 0)}", _short_clock(peak.time)),
                color=f"rgb{COLOURS[emotion]}",
            ),
        )
        for emotion, peak in sorted(person.peaks.items(), key=lambda item: -item[1].probability)
    ]
