"""Analyse a video file: emotions of each face over time, in constant memory."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Literal

from fer_pipeline.errors import ParamsError, VideoError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.cuts import CutDetector
from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.inference.neutral.resting import MIN_TRACK_SECONDS, TRACK_TAU, RestingFaces
from fer_pipeline.inference.output_schema import SCHEMA_VERSION
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import DWELL_SECONDS, SMOOTHING_SECONDS
from fer_pipeline.inference.stream import FaceStream, References
from fer_pipeline.inference.tracking import TrackedFace
from fer_pipeline.inference.video.decoding import VideoInfo, frames
from fer_pipeline.inference.video.limits import VideoLimits
from fer_pipeline.inference.video.results import replaced_results, tidy
from fer_pipeline.inference.video.summary import TrackSummary, VideoSummary
from fer_pipeline.inference.video.summary_builder import VideoSummaryBuilder
from fer_pipeline.inference.video.writers import VideoFiles
from fer_pipeline.model_info import file_sha256

__all__ = [
    "TrackSummary",
    "VideoInfo",
    "VideoLimits",
    "VideoOptions",
    "VideoProgress",
    "VideoSummary",
    "analyse",
    "frames",
]

_BATCH_PIXELS = 16 * 1920 * 1080
"""Of the frames of one batch, which are in memory together, and a second time while they are written: 100 MB each time."""


@dataclass(frozen=True)
class VideoOptions:
    """Options of the analysis.

    Faces are detected in each `detect_every`-th frame and after a cut, on a copy of `detection_side` pixels, and tracked between.
    The smoothed probabilities come from a hidden Markov model (`smoothing.EmotionFilter`); where `dwell_seconds` is None, from
    a moving mean with the time constant `smoothing_seconds`, 0 for none. The faces of `batch_frames` frames are
    classified as one batch, of large frames fewer; `annotate` writes the annotated video. `neutral` is a neutral face, relative
    to which everybody is read; or "auto": the own one of each person, where it can be estimated with `neutral_tau`
    (`neutral.resting`). The video is then read twice.
    """

    detect_every: int = 8
    detection_side: int = 320
    smoothing_seconds: float = SMOOTHING_SECONDS
    dwell_seconds: float | None = DWELL_SECONDS
    batch_frames: int = 16
    annotate: bool = True
    neutral: NeutralReference | Literal["auto"] | None = None
    neutral_tau: float = TRACK_TAU
    limits: VideoLimits = field(default_factory=VideoLimits)

    def __post_init__(self) -> None:
        if self.batch_frames < 1:
            raise ParamsError(f"batch_frames is {self.batch_frames}, expected at least 1")


@dataclass(frozen=True)
class VideoProgress:
    """Progress of an analysis: frames, faces, time of the last frame in seconds.

    They begin anew where a video is read a second time, as for `VideoOptions.neutral` "auto".
    `duration` is None where it is unknown; at the end of the analysis it equals `seconds`.
    """

    frames: int
    faces: int
    seconds: float
    duration: float | None

    @property
    def fraction(self) -> float | None:
        """Return the share that is done, in 0..1; None where the duration is unknown."""
        return min(1.0, self.seconds / self.duration) if self.duration else None


def analyse(
    path: Path,
    recognizer: Recognizer,
    out: Path,
    *,
    options: VideoOptions | None = None,
    on_progress: Callable[[VideoProgress], None] | None = None,
    cancelled: threading.Event | None = None,
    finish: Callable[[Path, VideoSummary], None] | None = None,
) -> VideoSummary:
    """Analyse a video and write the results to the folder `out`.

    Writes faces.jsonl and faces.csv (one row per face and frame), subtitles.vtt, annotated.webm, peak images, summary.json, and
    what `finish` adds to the folder it is given. Results are written aside and replace earlier ones at the end
    (`results.replaced_results`); incomplete results never replace complete ones. Where `out` holds the finished results of the
    same file, model and options, these are returned with `skipped`. After `cancelled` is set, the results so far are closed
    and returned with `complete` false. Raises `VideoError` where the file is not a video or beyond the limits, with the results
    so far in `out` and the reason in summary.json.
    """
    options = options or VideoOptions()
    info = VideoInfo.read(path, options.limits)
    key = _fingerprint(path, recognizer, options)
    tidy(out)
    earlier = VideoSummary.finished(out, key)
    if earlier is not None and earlier.info == info:  # an earlier version of this code may have turned its frames otherwise
        return replace(earlier, skipped=True)
    with replaced_results(out) as aside:
        builder = VideoSummaryBuilder(aside, recognizer.info, recognizer.detector.name, path.name, key, info)
        if info.tilt:
            builder.note(
                f"{path.name} asks to be shown tilted by {info.tilt:g} degrees more than {info.rotation}: not applied, nearest "
                "quarter turn only"
            )
        references = _references(path, recognizer, builder, options, on_progress, cancelled)
        summary = _analyse(path, recognizer, aside, builder, options, references, on_progress, cancelled)
        if finish is not None:
            finish(aside, summary)
    if on_progress is not None:
        end = max(summary.seconds, info.duration or 0.0) if summary.complete else summary.seconds
        on_progress(VideoProgress(summary.frames, summary.faces, end, info.duration))
    return summary


def _analyse(
    path: Path,
    recognizer: Recognizer,
    out: Path,
    builder: VideoSummaryBuilder,
    options: VideoOptions,
    references: References | None,
    on_progress: Callable[[VideoProgress], None] | None,
    cancelled: threading.Event | None,
) -> VideoSummary:
    stream = _stream(recognizer, options, references)
    complete = True
    try:
        with (
            closing(frames(path, options.limits, on_damage=builder.note)) as source,
            VideoFiles(out, builder.info, recognizer.info, annotated=options.annotate) as files,
            ThreadPoolExecutor(1, "write") as writer,  # annotating and encoding run beside recognition, one batch behind
        ):
            writing: Future[None] | None = None
            while batch := list(islice(source, _batch_size(builder.info, options))):
                tracked = stream.update_many(batch)
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write, batch, tracked, files, builder)
                if on_progress is not None:
                    on_progress(VideoProgress(builder.frames, builder.faces, builder.seconds, builder.info.duration))
                if cancelled is not None and cancelled.is_set():
                    builder.note("cancelled")
                    complete = False
                    break
            if writing is not None:
                writing.result()
    except BaseException as error:
        builder.note(str(error) or type(error).__name__)
        builder.write(complete=False)
        raise
    return builder.write(complete=complete)


def _stream(recognizer: Recognizer, options: VideoOptions, references: References | None) -> FaceStream:
    return FaceStream(
        recognizer,
        detect_every=options.detect_every,
        detection_side=options.detection_side,
        smoothing_seconds=options.smoothing_seconds,
        dwell_seconds=options.dwell_seconds,
        is_cut=CutDetector().is_cut,
        references=references,
    )


def _references(
    path: Path,
    recognizer: Recognizer,
    builder: VideoSummaryBuilder,
    options: VideoOptions,
    on_progress: Callable[[VideoProgress], None] | None,
    cancelled: threading.Event | None,
) -> References | None:
    """Return the neutral faces of people; for "auto" the video is read once for them."""
    neutral = options.neutral
    if neutral is None:
        return None
    if isinstance(neutral, NeutralReference):
        neutral.check_model(recognizer.info.fingerprint)
        return lambda faces, _: dict.fromkeys(faces, neutral)
    resting = RestingFaces(options.neutral_tau)
    stream = _stream(recognizer, options, resting.references)
    read = faces = 0
    try:
        with closing(frames(path, options.limits)) as source:
            while batch := list(islice(source, _batch_size(builder.info, options))):
                faces += sum(map(len, stream.update_many(batch)))
                read += len(batch)
                if on_progress is not None:
                    on_progress(VideoProgress(read, faces, batch[-1][0], builder.info.duration))
                if cancelled is not None and cancelled.is_set():
                    break
    except VideoError:  # the analysis, which comes to the same frame, says what is wrong
        pass
    found = resting.estimates(recognizer.info.fingerprint)
    if not found:
        builder.note(f"no neutral face could be estimated: nobody is seen for {MIN_TRACK_SECONDS:g} s, mostly at rest")
    return lambda faces, _: {track: found[track] for track in faces if track in found}


def _batch_size(info: VideoInfo, options: VideoOptions) -> int:
    return min(options.batch_frames, max(1, _BATCH_PIXELS // max(1, info.width * info.height)))


def _write(
    batch: list[tuple[float, UInt8Array]], tracked: list[list[TrackedFace]], files: VideoFiles, builder: VideoSummaryBuilder
) -> None:
    for (time, image), faces in zip(batch, tracked, strict=True):
        files.write(builder.frames, time, image, faces)
        builder.add(time, image, faces)


def _fingerprint(path: Path, recognizer: Recognizer, options: VideoOptions) -> str:
    values = [
        SCHEMA_VERSION,
        file_sha256(path),
        recognizer.info.fingerprint,
        recognizer.detector.name,
        recognizer.threshold,
        asdict(options),
    ]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
