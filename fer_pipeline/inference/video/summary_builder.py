"""Build the summary of a video while its frames are analysed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fer_pipeline.imaging import UInt8Array, crop, encode_png, shrink
from fer_pipeline.inference.face_emotion import UNCERTAIN
from fer_pipeline.inference.neutral.reference import ReferenceOrigin
from fer_pipeline.inference.output_schema import SCHEMA_VERSION, model_values
from fer_pipeline.inference.tracking import FORGET_SECONDS, TrackedFace
from fer_pipeline.inference.video.decoding import VideoInfo
from fer_pipeline.inference.video.summary import PEAKS, SUMMARY_FILE, Peak, TrackSummary, VideoSummary
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace.files import write_json

_PEAK_SIDE = 96
_PEAK_GAIN = 0.01  # a new peak must be higher by this; else each frame of a rise would be cropped


class VideoSummaryBuilder:
    """Builds the summary frame by frame.

    It keeps a few numbers per person, and images only of those in view.
    """

    def __init__(self, out: Path, model: ModelInfo, detector: str, source: str, fingerprint: str, info: VideoInfo) -> None:
        self.frames, self.faces, self.seconds = 0, 0, 0.0
        self.info = info
        self._out = out
        self._fixed: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "source": source,
            "model": model_values(model),
            "detector": detector,
            "fingerprint": fingerprint,
            "info": info,
        }
        self._notes: list[str] = []
        self._done: list[TrackSummary] = []
        self._open: dict[int, _Person] = {}
        self._step = 1 / info.fps if info.fps else 0.04

    def note(self, text: str) -> None:
        """Add a note on what is missing."""
        self._notes.append(text)

    def add(self, time: float, image: UInt8Array, faces: Sequence[TrackedFace]) -> None:
        """Add the next frame, at `time` in seconds."""
        self.frames += 1
        self.faces += len(faces)
        self.seconds = time
        for face in faces:
            self._open.setdefault(face.track, _Person(face.track, time, self._step)).add(time, image, face)
        for track in [n for n, person in self._open.items() if time - person.last > 2 * FORGET_SECONDS]:
            self._done.append(self._open.pop(track).summary(self._out))

    def write(self, *, complete: bool) -> VideoSummary:
        """Write the peaks and summary.json, and return the summary."""
        tracks = [*self._done, *(person.summary(self._out) for person in self._open.values())]
        self._notes += _neutral_notes(sorted(tracks, key=lambda track: track.track))
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


def _neutral_notes(tracks: Sequence[TrackSummary]) -> list[str]:
    """Say who was read relative to a neutral face; nothing where nobody was."""
    given = [str(track.track) for track in tracks if track.neutral_reference == "given"]
    estimated = [str(track.track) for track in tracks if track.neutral_reference == "track"]
    notes = []
    if given:
        several = f", which is of one person: {len(given)} were seen" if len(given) > 1 else ""
        notes.append(f"read relative to the neutral face that was given{several}")
    if estimated:
        notes.append(f"read relative to their own neutral faces, estimated from their tracks: person {', '.join(estimated)}")
    return notes


class _Person:
    def __init__(self, track: int, time: float, step: float) -> None:
        self.last = time
        self._track, self._first, self._step = track, time, step
        self._frames, self._changes_raw, self._changes_smoothed = 0, 0, 0
        self._labels = ("", "")
        self._neutral_reference: ReferenceOrigin | None = None
        self._seconds = dict.fromkeys((*EMOTIONS, UNCERTAIN), 0.0)
        self._peaks: dict[str, tuple[float, float, UInt8Array]] = {}

    def add(self, time: float, image: UInt8Array, face: TrackedFace) -> None:
        raw, smoothed = face.face.emotion, face.emotion
        if self._frames:
            self._changes_raw += raw != self._labels[0]
            self._changes_smoothed += smoothed != self._labels[1]
            # The label until now; a gap in which the person was not seen counts for at most FORGET_SECONDS.
            self._seconds[self._labels[1]] += min(time - self.last, FORGET_SECONDS)
        self._labels, self.last = (raw, smoothed), time
        self._neutral_reference = face.face.neutral_reference
        self._frames += 1
        if smoothed != UNCERTAIN and face.face.box_xyxy is not None:
            probability = max(face.smoothed)
            if smoothed not in self._peaks or probability > self._peaks[smoothed][1] + _PEAK_GAIN:
                image_of_face = shrink(crop(image, _square(face.face.box_xyxy)), _PEAK_SIDE)
                self._peaks[smoothed] = (time, probability, image_of_face)

    def summary(self, out: Path) -> TrackSummary:
        self._seconds[self._labels[1]] += self._step  # the last frame has a duration, too
        peaks = {}
        for emotion, (time, probability, image) in self._peaks.items():
            file = f"{PEAKS}/person-{self._track:04d}-{emotion}.png"
            (out / PEAKS).mkdir(exist_ok=True)
            (out / file).write_bytes(encode_png(image))
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
            self._neutral_reference,
        )


def _square(box: tuple[float, float, float, float]) -> tuple[float, float, float, float]:
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, 0.6 * max(box[2] - box[0], box[3] - box[1])
    return (x - half, y - half, x + half, y + half)
