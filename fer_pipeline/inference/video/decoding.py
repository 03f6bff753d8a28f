"""Decode video files with PyAV (FFmpeg) to upright RGB frames with times."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from fer_pipeline.errors import VideoError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.video.container import open_video, read_frames, stated_duration
from fer_pipeline.inference.video.limits import VideoLimits
from fer_pipeline.inference.video.orientation import Orientation

_QUEUE_BYTES = 64_000_000
_QUEUE_FRAMES = 16


@dataclass(frozen=True)
class VideoInfo:
    """Header of the first video stream of a file.

    `width` and `height` are those of the upright frames; `rotation` is the counterclockwise angle in degrees by which frames are
    rotated to be upright: 0, 90, 180 or 270. Before that they are mirrored left to right where `mirrored`; `tilt` is the part of
    the angle that is not applied (`orientation.Orientation`). `duration` in seconds, `fps` (on average) and `frames` are None
    where the header does not state them.
    """

    width: int
    height: int
    duration: float | None
    fps: float | None
    frames: int | None
    rotation: int
    codec: str
    mirrored: bool = False
    tilt: float = 0.0

    @classmethod
    def read(cls, path: Path, limits: VideoLimits | None = None) -> VideoInfo:
        """Read the header, and decode the first frame if the header is within the limits.

        Raises `VideoError` where the file is not a video or beyond the limits.
        """
        limits = limits or VideoLimits()
        container, stream = open_video(path, limits)
        with container:
            first = next(read_frames(container, stream, limits, path), None)
            if first is None:
                raise VideoError(f"{path.name} has a video stream, but not one frame of it can be decoded")
            limits.check_size(first.width * first.height, path.name)
            shown = Orientation.of(first)
            width, height = stream.codec_context.width, stream.codec_context.height
            if shown.swaps_sides:
                width, height = height, width
            return cls(
                width,
                height,
                stated_duration(container, stream),
                fps=float(stream.average_rate) if stream.average_rate else None,
                frames=stream.frames or None,
                rotation=90 * shown.quarters,
                codec=stream.codec_context.name,
                mirrored=shown.mirrored,
                tilt=shown.tilt,
            )


def frames(
    path: Path, limits: VideoLimits | None = None, *, on_damage: Callable[[str], None] | None = None
) -> Generator[tuple[float, UInt8Array], None, None]:
    """Decode the frames of a video as (time, image).

    `time` is in seconds from the start of the file and never decreases; `image` is RGB uint8 (H, W, 3), upright. A separate
    thread decodes a few frames ahead; close or exhaust the iterator to end it. Raises `VideoError` where the file is not a video
    or beyond the limits. Where parts of it cannot be decoded, all other frames are yielded; then `on_damage` is called with a
    description of what is missing, or without it `VideoError` is raised.
    """
    limits = limits or VideoLimits()
    container, stream = open_video(path, limits)
    ahead = max(2, min(_QUEUE_FRAMES, _QUEUE_BYTES // max(1, 3 * stream.codec_context.width * stream.codec_context.height)))
    decoder = _Decoder(container, stream, path, limits, ahead)
    decoder.start()
    try:
        yield from decoder.decoded()
        if decoder.damage:
            text = f"{path.name}: {'; '.join(decoder.damage)}"
            if on_damage is None:
                raise VideoError(text)
            on_damage(text)
    finally:
        decoder.end()


class _Decoder(threading.Thread):
    """Decoding thread; owns the container.

    It puts (time, frame) into a bounded queue, then None or the exception that ended it.
    """

    def __init__(self, container: Any, stream: Any, path: Path, limits: VideoLimits, ahead: int) -> None:
        super().__init__(name=f"decode {path.name}", daemon=True)
        self.damage: list[str] = []
        self._container, self._stream, self._path, self._limits = container, stream, path, limits
        self._queue: queue.Queue[tuple[float, UInt8Array] | BaseException | None] = queue.Queue(ahead)
        self._ending = threading.Event()
        self._broken = 0
        self._cut = False

    def decoded(self) -> Iterator[tuple[float, UInt8Array]]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def end(self) -> None:
        self._ending.set()
        self.join()

    def run(self) -> None:
        try:
            self._decode()
            self._put(None)
        except BaseException as error:  # raised again in the thread that reads the frames
            self._put(error)
        finally:
            self._container.close()

    def _put(self, item: tuple[float, UInt8Array] | BaseException | None) -> None:
        while not self._ending.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=0.05)
                return

    def _decode(self) -> None:
        step = 1 / float(self._stream.average_rate or 25)
        start = (self._container.start_time or 0) / av.time_base
        count, time = 0, -step
        for frame in read_frames(self._container, self._stream, self._limits, self._path, self._count_broken, self._note_cut):
            if self._ending.is_set():
                return
            time = max(time, 0.0, frame.time - start) if frame.time is not None else time + step
            count += 1
            self._limits.check_size(frame.width * frame.height, self._path.name)
            self._limits.check_length(time, self._path.name)
            self._limits.check_frames(count, time, self._path.name)
            self._put((time, _upright(frame)))
        if count == 0:
            raise VideoError(f"{self._path.name} has a video stream, but not one frame of it can be decoded")
        if self._broken:
            self.damage.append(f"{self._broken} packet{'s' * (self._broken != 1)} cannot be decoded")
        if self._cut:
            self.damage.append("the file is cut off inside a frame")
        stated = stated_duration(self._container, self._stream)
        if stated is not None and stated - time > max(1.0, 0.02 * stated) + 2 * step:
            self.damage.append(f"frames end at {time:.1f} s, the header says {stated:.1f} s")

    def _count_broken(self) -> None:
        self._broken += 1

    def _note_cut(self) -> None:
        self._cut = True


def _upright(frame: Any) -> UInt8Array:
    image: UInt8Array = frame.to_ndarray(format="rgb24")
    return Orientation.of(frame).apply(image)
