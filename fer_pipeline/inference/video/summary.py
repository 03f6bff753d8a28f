"""Summary of a video: time of each emotion, label changes and peaks per person."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fer_pipeline.inference.neutral.reference import ReferenceOrigin
from fer_pipeline.inference.video.decoding import VideoInfo

SUMMARY_FILE = "summary.json"
PEAKS = "peaks"
"""Folder of the faces at the moments of highest probability."""

BRIEF_SECONDS = 0.5
"""A person seen for less is usually a false detection.

It is in all files, but not in counts and pages, unless the video itself is as short.
"""


@dataclass(frozen=True)
class Peak:
    """Highest smoothed probability of an emotion.

    `time` is in seconds, `file` the image in the result folder.
    """

    time: float
    probability: float
    file: str


@dataclass(frozen=True)
class TrackSummary:
    """One person of a video.

    `first` and `last` are the times, in seconds, of the first and last frame. `seconds` is the time with each label of the
    smoothed probabilities, "uncertain" included. `changes_raw` and `changes_smoothed` count how often the label of successive
    frames differs, by raw and by smoothed probabilities. `neutral_reference` says where the neutral face came from, relative to
    which the person was read; None where there was none.
    """

    track: int
    first: float
    last: float
    frames: int
    seconds: dict[str, float]
    changes_raw: int
    changes_smoothed: int
    peaks: dict[str, Peak]
    neutral_reference: ReferenceOrigin | None = None

    @property
    def seen(self) -> float:
        """Return the seconds in which the person was seen."""
        return sum(self.seconds.values())

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of that time by label; sums to 1."""
        return {label: seconds / self.seen for label, seconds in self.seconds.items()} if self.seen else {}


@dataclass(frozen=True)
class VideoSummary:
    """Result of one video.

    `model` holds name and fingerprint of the model; `fingerprint` is that of file, model and options.
    `faces` counts faces over all frames, `notes` names what is missing or damaged. `complete` is false where the run was
    cancelled or failed; `skipped` is true where finished results existed already.
    """

    schema_version: int
    source: str
    model: dict[str, str]
    detector: str
    fingerprint: str
    info: VideoInfo
    complete: bool
    frames: int
    faces: int
    seconds: float
    tracks: tuple[TrackSummary, ...]
    notes: tuple[str, ...] = ()
    skipped: bool = field(default=False, compare=False)

    @property
    def people(self) -> tuple[TrackSummary, ...]:
        """Return the tracks of at least `BRIEF_SECONDS` or the whole video, longest first."""
        least = min(BRIEF_SECONDS, self.seconds)
        return tuple(sorted((t for t in self.tracks if t.seen >= least), key=lambda track: -track.seen))

    @classmethod
    def finished(cls, out: Path, fingerprint: str) -> VideoSummary | None:
        """Read the summary in a folder.

        None where it is not complete or of another fingerprint.
        """
        try:
            values: dict[str, Any] = json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8"))
            tracks = tuple(
                TrackSummary(**{**track, "peaks": {name: Peak(**peak) for name, peak in track["peaks"].items()}})
                for track in values.pop("tracks")
            )
            found = cls(**{**values, "tracks": tracks, "info": VideoInfo(**values["info"]), "notes": tuple(values["notes"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none there, or of another version: analyse again
            return None
        return found if found.complete and found.fingerprint == fingerprint else None
