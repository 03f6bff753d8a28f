"""Write the result files of a video frame by frame."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import av

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.drawing import annotate_tracked
from fer_pipeline.inference.output_schema import columns, model_values
from fer_pipeline.inference.pictures.face_table import face_values
from fer_pipeline.inference.tracking import TrackedFace
from fer_pipeline.inference.video.decoding import VideoInfo
from fer_pipeline.model_info import ModelInfo

JSONL_FILE, CSV_FILE, VTT_FILE, VIDEO_FILE = "faces.jsonl", "faces.csv", "subtitles.vtt", "annotated.webm"
FILES = (JSONL_FILE, CSV_FILE, VTT_FILE, VIDEO_FILE)
PARQUET_FILE = "faces.parquet"
"""Written by `table.write_table`, where pyarrow is installed."""

COLUMNS = columns("video")
"""Columns of faces.csv and faces.parquet; docs/outputs.md says what they hold."""

_MILLISECONDS = Fraction(1, 1000)


class VideoFiles:
    """Writer of the files of one video; they are readable also if it ends early."""

    def __init__(self, out: Path, info: VideoInfo, model: ModelInfo, *, annotated: bool) -> None:
        self._model = model_values(model)
        self._resources = ExitStack()
        self._jsonl = self._opened(out / JSONL_FILE)
        self._csv_file = self._opened(out / CSV_FILE)
        self._csv = csv.writer(self._csv_file)
        self._csv.writerow(COLUMNS)
        self._subtitles = Subtitles(self._opened(out / VTT_FILE))
        self._resources.callback(self._subtitles.close)
        self._video = AnnotatedVideo(out / VIDEO_FILE, info) if annotated else None
        if self._video is not None:
            self._resources.callback(self._video.close)

    def __enter__(self) -> VideoFiles:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    def write(self, frame: int, time: float, image: UInt8Array, faces: Sequence[TrackedFace]) -> None:
        """Add frame number `frame`, at `time` in seconds, with its faces."""
        for face in faces:
            values = {"frame": frame, "time": round(time, 4), **face.as_dict(), "model": self._model}
            self._jsonl.write(json.dumps(values) + "\n")
            self._csv.writerow(table_row(values))
        self._subtitles.add(time, faces)
        if self._video is not None:
            self._video.add(time, image, faces)

    def _opened(self, file: Path) -> TextIO:
        return self._resources.enter_context(file.open("w", encoding="utf-8", newline=""))


def table_row(values: dict[str, Any]) -> list[Any]:
    """Return the values of `COLUMNS` of one line of faces.jsonl."""
    row = {
        **{name: values[name] for name in ("frame", "time", "track", "detected")},
        **face_values(values),
        "smoothed_emotion": values["smoothed_emotion"],
        **{f"smoothed_{emotion}": p for emotion, p in values["smoothed"].items()},
        "model": values["model"]["name"],
        "fingerprint": values["model"]["fingerprint"],
    }
    return [row[name] for name in COLUMNS]


MIN_CUE_SECONDS = 0.3
"""Shortest cue of the subtitles; nobody reads a shorter one."""


class Subtitles:
    """WebVTT subtitles, one cue per span with the same people and emotions.

    A span shorter than `MIN_CUE_SECONDS` shows what follows it, or what lies on both sides of it.
    """

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._file.write("WEBVTT\n\n")
        self._text, self._start, self._last, self._step = "", 0.0, 0.0, 0.04
        self._before: tuple[str, float] | None = None  # text and start of the span before, which may go on

    def add(self, time: float, faces: Sequence[TrackedFace]) -> None:
        """Add the frame at `time` in seconds."""
        text = "\n".join(f"Person {face.track}: {face.emotion}" for face in sorted(faces, key=lambda face: face.track))
        if time > self._last:
            self._step = time - self._last
        if text != self._text:
            self._change(text, time)
        self._last = time

    def close(self) -> None:
        """End the last cue; its last frame lasts as long as the frame before it."""
        end = self._last + self._step
        if self._before is not None and end - self._start < MIN_CUE_SECONDS:
            (self._text, self._start), self._before = self._before, None
        self._write_before()
        self._write(self._text, self._start, max(end, self._start + MIN_CUE_SECONDS))

    def _change(self, text: str, time: float) -> None:
        if time - self._start >= MIN_CUE_SECONDS:
            self._write_before()
            self._before, self._text, self._start = (self._text, self._start), text, time
        elif self._before is not None and self._before[0] == text:
            (self._text, self._start), self._before = self._before, None
        else:
            self._text = text

    def _write_before(self) -> None:
        if self._before is not None:
            self._write(*self._before, self._start)
        self._before = None

    def _write(self, text: str, start: float, end: float) -> None:
        if text:
            self._file.write(f"{clock(start)} --> {clock(end)}\n{text}\n\n")


class AnnotatedVideo:
    """Video with boxes and smoothed emotions, with the frames' times, without sound.

    VP9 in WebM: every browser plays it and libvpx has the BSD licence, while libx264 in PyAV's wheels is GPL. The real-time
    settings take about a tenth of the default's time.
    """

    def __init__(self, file: Path, info: VideoInfo) -> None:
        # FFmpeg would take what stands before a colon in a relative path as a protocol.
        self._container = av.open(str(file.resolve()), "w", format="webm")
        self._stream: Any = self._container.add_stream("libvpx-vp9", rate=Fraction(info.fps or 25).limit_denominator(1001))
        self._stream.width, self._stream.height = info.width, info.height
        self._stream.pix_fmt = "yuv420p"
        self._stream.bit_rate = 0  # quality decides, see crf
        self._stream.options = {"deadline": "realtime", "cpu-used": "8", "row-mt": "1", "crf": "33"}
        self._stream.codec_context.time_base = _MILLISECONDS
        self._last = -1

    def add(self, time: float, image: UInt8Array, faces: Sequence[TrackedFace]) -> None:
        """Add an RGB frame at `time` in seconds."""
        frame = av.VideoFrame.from_ndarray(annotate_tracked(image, faces), format="rgb24")
        frame = frame.reformat(self._stream.width, self._stream.height, "yuv420p")  # a video may change its frame size
        self._last = max(self._last + 1, round(1000 * time))
        frame.pts, frame.time_base = self._last, _MILLISECONDS
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        """Write the frames that the encoder still holds, and the index."""
        self._container.mux(self._stream.encode(None))
        self._container.close()


def clock(seconds: float) -> str:
    """Format seconds for WebVTT: 3723.45 is "01:02:03.450"."""
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d}.{rest % 1000:03d}"
