"""A video file -> the emotions of each face over time, streamed to files; memory does not grow with its length."""

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

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import SMOOTHING_SECONDS
from fer_pipeline.inference.stream import FaceStream
from fer_pipeline.inference.tracking import TrackedFace
from fer_pipeline.inference.video.decoding import VideoInfo, VideoLimits, frames
from fer_pipeline.inference.video.results import replaced_results, tidy
from fer_pipeline.inference.video.summary import TrackSummary, VideoFacts, VideoSummary
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


@dataclass(frozen=True)
class VideoOptions:
    """How a video is read. `detect_every` frames the whole picture is searched for faces, on a copy of `detection_side` pixels.

    `smoothing_seconds` is the time constant of the smoothed probabilities, 0 for none; with `dwell_seconds` they come from a
    hidden Markov model instead (`temporal.EmotionFilter`). `batch_frames` is how many frames go through the network at once,
    `annotate` whether the annotated video is written.
    """

    detect_every: int = 5
    detection_side: int = 320
    smoothing_seconds: float = SMOOTHING_SECONDS
    dwell_seconds: float | None = None
    batch_frames: int = 16
    annotate: bool = True
    limits: VideoLimits = field(default_factory=VideoLimits)

    def __post_init__(self) -> None:
        if self.batch_frames < 1:
            raise ParamsError(f"batch_frames is {self.batch_frames}, expected at least 1")


@dataclass(frozen=True)
class VideoProgress:
    """How far a video is: frames and faces so far, the time of the last frame and, where known, of the end, in seconds.

    Of a video that is finished the two times are the same.
    """

    frames: int
    faces: int
    seconds: float
    duration: float | None

    @property
    def fraction(self) -> float | None:
        """Share that is done, in 0..1; None where the length is not known."""
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
    """What was found in the video; per face and frame it is in faces.jsonl and faces.csv of the folder `out`.

    There are subtitles.vtt, annotated.webm, the peaks as pictures and summary.json, too, and what `finish` adds to the folder
    that it is given. All is written aside and takes the place of earlier results at the end (`result_folder`); what is not
    complete never replaces finished results. Where `out` holds the finished results of the same file, model and options, they
    are returned with `skipped`. After `cancelled` is set, the results so far are closed properly and returned with `complete`
    false. Raises `VideoError` where the file is no video or beyond the limits, with the results so far in `out` and the reason in
    summary.json.
    """
    options = options or VideoOptions()
    info = VideoInfo.read(path, options.limits)
    key = _fingerprint(path, recognizer, options)
    tidy(out)
    earlier = VideoSummary.finished(out, key)
    if earlier is not None:
        return replace(earlier, skipped=True)
    with replaced_results(out) as aside:
        facts = VideoFacts(aside, recognizer.info.fingerprint, recognizer.detector.name, path.name, key, info)
        summary = _analyse(path, recognizer, aside, facts, options, on_progress, cancelled)
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
    facts: VideoFacts,
    options: VideoOptions,
    on_progress: Callable[[VideoProgress], None] | None,
    cancelled: threading.Event | None,
) -> VideoSummary:
    stream = FaceStream(
        recognizer,
        detect_every=options.detect_every,
        detection_side=options.detection_side,
        smoothing_seconds=options.smoothing_seconds,
        dwell_seconds=options.dwell_seconds,
    )
    complete = True
    try:
        with (
            closing(frames(path, options.limits, on_damage=facts.note)) as source,
            VideoFiles(out, facts.info, annotated=options.annotate) as files,
            ThreadPoolExecutor(1, "write") as writer,  # annotating and encoding run beside recognition, one batch behind
        ):
            writing: Future[None] | None = None
            while batch := list(islice(source, options.batch_frames)):
                tracked = stream.update_many(batch)
                if writing is not None:
                    writing.result()
                writing = writer.submit(_write, batch, tracked, files, facts)
                if on_progress is not None:
                    on_progress(VideoProgress(facts.frames, facts.faces, facts.seconds, facts.info.duration))
                if cancelled is not None and cancelled.is_set():
                    facts.note("cancelled")
                    complete = False
                    break
            if writing is not None:
                writing.result()
    except BaseException as error:
        facts.note(str(error) or type(error).__name__)
        facts.write(complete=False)
        raise
    return facts.write(complete=complete)


def _write(batch: list[tuple[float, UInt8Array]], tracked: list[list[TrackedFace]], files: VideoFiles, facts: VideoFacts) -> None:
    for (time, image), faces in zip(batch, tracked, strict=True):
        files.write(facts.frames, time, image, faces)
        facts.add(time, image, faces)


def _fingerprint(path: Path, recognizer: Recognizer, options: VideoOptions) -> str:
    facts = [file_sha256(path), recognizer.info.fingerprint, recognizer.detector.name, recognizer.threshold, asdict(options)]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
