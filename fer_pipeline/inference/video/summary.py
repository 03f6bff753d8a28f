"""What a video shows as a whole: per person the share of time of each emotion, how often the label changes, and the peaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fer_pipeline.imaging import UInt8Array, crop, encode_png, shrink
from fer_pipeline.inference.face_emotion import UNCERTAIN
from fer_pipeline.inference.tracking import FORGET_SECONDS, TrackedFace
from fer_pipeline.inference.video.decoding import VideoInfo
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.workspace.files import write_json

SUMMARY_FILE = "summary.json"
PEAKS = "peaks"
"""Folder of the faces at the moments of highest probability."""

BRIEF_SECONDS = 0.5
"""A person seen for less is mostly a false detection; it stays in all files, but out of counts and pages."""

_PEAK_SIDE = 96
_PEAK_GAIN = 0.01  # a new peak must be that much higher, or each frame of a rise would be cut out


@dataclass(frozen=True)
class Peak:
    """The highest smoothed probability of an emotion: when, how high, and its picture in the folder of the results."""

    time: float
    probability: float
    file: str


@dataclass(frozen=True)
class TrackSummary:
    """One person, from the first to the last time it was seen, in seconds.

    `seconds` is how long it was seen with each label, "uncertain" included, by the smoothed probabilities. The changes count
    how often the label of successive frames differs, by the raw and by the smoothed probabilities.
    """

    track: int
    first: float
    last: float
    frames: int
    seconds: dict[str, float]
    changes_raw: int
    changes_smoothed: int
    peaks: dict[str, Peak]

    @property
    def seen(self) -> float:
        """Seconds in which the person was seen."""
        return sum(self.seconds.values())

    @property
    def shares(self) -> dict[str, float]:
        """Share of the time seen by label; sums to 1."""
        return {label: seconds / self.seen for label, seconds in self.seconds.items()} if self.seen else {}


@dataclass(frozen=True)
class VideoSummary:
    """The result of one video. `faces` counts faces over all frames, `notes` says what is missing or damaged.

    `complete` is false where the run was cancelled or failed; `skipped` is true where finished results were there already.
    """

    source: str
    model: str
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
        """The tracks of at least `BRIEF_SECONDS`, longest first."""
        return tuple(sorted((t for t in self.tracks if t.seen >= BRIEF_SECONDS), key=lambda track: -track.seen))

    @classmethod
    def finished(cls, out: Path, fingerprint: str) -> VideoSummary | None:
        """The summary in a folder, if it is complete and of this fingerprint."""
        try:
            values: dict[str, Any] = json.loads((out / SUMMARY_FILE).read_text(encoding="utf-8"))
            tracks = tuple(
                TrackSummary(**{**track, "peaks": {name: Peak(**peak) for name, peak in track["peaks"].items()}})
                for track in values.pop("tracks")
            )
            found = cls(**{**values, "tracks": tracks, "info": VideoInfo(**values["info"]), "notes": tuple(values["notes"])})
        except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none there, or of another version: analyse anew
            return None
        return found if found.complete and found.fingerprint == fingerprint else None


class VideoFacts:
    """Collects the summary frame by frame; keeps a few numbers per person, and pictures only of those in view."""

    def __init__(self, out: Path, model: str, detector: str, source: str, fingerprint: str, info: VideoInfo) -> None:
        self.frames, self.faces, self.seconds = 0, 0, 0.0
        self.info = info
        self._out = out
        self._fixed: dict[str, Any] = {
            "source": source, "model": model, "detector": detector, "fingerprint": fingerprint, "info": info
        }  # fmt: skip
        self._notes: list[str] = []
        self._done: list[TrackSummary] = []
        self._open: dict[int, _Person] = {}
        self._step = 1 / info.fps if info.fps else 0.04

    def note(self, text: str) -> None:
        """Keeps a remark on what is missing."""
        self._notes.append(text)

    def add(self, time: float, image: UInt8Array, faces: Sequence[TrackedFace]) -> None:
        """Takes in the next frame, at `time` in seconds."""
        self.frames += 1
        self.faces += len(faces)
        self.seconds = time
        for face in faces:
            self._open.setdefault(face.track, _Person(face.track, time, self._step)).add(time, image, face)
        for track in [n for n, person in self._open.items() if time - person.last > 2 * FORGET_SECONDS]:
            self._done.append(self._open.pop(track).summary(self._out))

    def write(self, *, complete: bool) -> VideoSummary:
        """Writes the peaks and summary.json, and returns what it says."""
        tracks = [*self._done, *(person.summary(self._out) for person in self._open.values())]
        summary = VideoSummary(
            **self._fixed,
            complete=complete,
            frames=self.frames,
            faces=self.faces,
            seconds=round(self.seconds, 4),
            tracks=tuple(sorted(tracks, key=lambda track: track.track)),
            notes=tuple(self._notes),
        )
        values = asdict(summary)
        del values["skipped"]
        write_json(self._out / SUMMARY_FILE, values)
        return summary


class _Person:
    def __init__(self, track: int, time: float, step: float) -> None:
        self.last = time
        self._track, self._first, self._step = track, time, step
        self._frames, self._changes_raw, self._changes_smoothed = 0, 0, 0
        self._labels = ("", "")
        self._seconds = dict.fromkeys((*EMOTIONS, UNCERTAIN), 0.0)
        self._peaks: dict[str, tuple[float, float, UInt8Array]] = {}

    def add(self, time: float, image: UInt8Array, face: TrackedFace) -> None:
        raw, smoothed = face.face.emotion, face.emotion
        if self._frames:
            self._changes_raw += raw != self._labels[0]
            self._changes_smoothed += smoothed != self._labels[1]
            # What it showed until now; through a gap in which it was not seen it showed nothing.
            self._seconds[self._labels[1]] += min(time - self.last, FORGET_SECONDS)
        self._labels, self.last = (raw, smoothed), time
        self._frames += 1
        if smoothed != UNCERTAIN and face.face.box_xyxy is not None:
            probability = max(face.smoothed)
            if smoothed not in self._peaks or probability > self._peaks[smoothed][1] + _PEAK_GAIN:
                picture = shrink(crop(image, _square(face.face.box_xyxy)), _PEAK_SIDE)
                self._peaks[smoothed] = (time, probability, picture)

    def summary(self, out: Path) -> TrackSummary:
        self._seconds[self._labels[1]] += self._step  # the last frame lasts, too
        peaks = {}
        for emotion, (time, probability, picture) in self._peaks.items():
            file = f"{PEAKS}/person-{self._track:04d}-{emotion}.png"
            (out / PEAKS).mkdir(exist_ok=True)
            (out / file).write_bytes(encode_png(picture))
            peaks[emotion] = Peak(round(time, 4), round(probability, 4), file)
        seconds = {label: round(value, 4) for label, value in self._seconds.items() if value > 0}
        return TrackSummary(
            self._track,
            round(self._first, 4),
            round(self.last, 4),
            self._frames,
            seconds,
            self._changes_raw,
            self._changes_smoothed,
            peaks,
        )


def _square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 0.6 * max(box[2] - box[0], box[3] - box[1])
    return (x - half, y - half, x + half, y + half)
