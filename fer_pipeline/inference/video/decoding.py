"""Decode video files with PyAV (FFmpeg) to upright RGB frames with times."""

from __future__ import annotations

import math
import queue
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av

from fer_pipeline.errors import VideoError
from fer_pipeline.imaging import UInt8Array, rotate90
from fer_pipeline.inference.video.limits import VideoLimits

# By demuxer, so that no play list makes FFmpeg open other files or addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf"
_OPEN = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_QUEUE_BYTES = 64_000_000
_QUEUE_FRAMES = 16


@dataclass(frozen=True)
class VideoInfo:
    """Header of the first video stream of a file.

    `width` and `height` are those of the upright frames; `rotation` is the counterclockwise angle in degrees by which frames are
    rotated to be upright: 0, 90, 180 or 270. `duration` in seconds, `fps` (on average) and `frames` are None where the header
    does not state them.
    """

    width: int
    height: int
    duration: float | None
    fps: float | None
    frames: int | None
    rotation: int
    codec: str

    @classmethod
    def read(cls, path: Path, limits: VideoLimits | None = None) -> VideoInfo:
        """Read the header, and decode the first frame if the header is within the limits.

        Raises `VideoError` where the file is not a video or beyond the limits.
        """
        limits = limits or VideoLimits()
        with _opened(path, limits) as container:
            stream = _video_stream(container, path, limits)
            _check_header(container, stream, limits, path)
            first = next(_readable(container, stream, limits, path, lambda: None), None)
            if first is None:
                raise VideoError(f"{path.name} has a video stream, but not one frame of it can be decoded")
            limits.check_size(first.width * first.height, path.name)
            rotation = first.rotation % 360 // 90 * 90
            width, height = stream.codec_context.width, stream.codec_context.height
            if rotation in (90, 270):
                width, height = height, width
            fps = float(stream.average_rate) if stream.average_rate else None
            return cls(
                width, height, _duration(container, stream), fps, stream.frames or None, rotation, stream.codec_context.name
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
    container = _opened(path, limits)
    try:
        stream = _video_stream(container, path, limits)
        _check_header(container, stream, limits, path)
    except BaseException:
        container.close()
        raise
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
        for frame in _readable(self._container, self._stream, self._limits, self._path, self._count_broken):
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
            self.damage.append(f"{self._broken} packets cannot be decoded")
        stated = _duration(self._container, self._stream)
        if stated is not None and stated - time > max(1.0, 0.02 * stated) + 2 * step:
            self.damage.append(f"frames end at {time:.1f} s, the header says {stated:.1f} s")

    def _count_broken(self) -> None:
        self._broken += 1


def _readable(container: Any, stream: Any, limits: VideoLimits, path: Path, on_broken: Callable[[], None]) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # the file ends inside a packet: nothing can be read after it
            on_broken()
            return
        if packet is None:
            return
        try:
            decoded = packet.decode()
        except av.ArgumentError as error:  # what the decoder says of max_pixels, before it has memory for the frame
            raise limits.too_large(path.name) from error
        except av.FFmpegError:
            on_broken()
            continue
        yield from decoded


def _opened(path: Path, limits: VideoLimits) -> Any:
    if not path.is_file():
        raise VideoError(f"no video in {path}: the file is missing")
    try:
        # An absolute path cannot be taken for a protocol. Where a header does not tell all, FFmpeg decodes a frame already here.
        options = {**_OPEN, "max_pixels": str(limits.decoder_pixels)}
        return av.open(str(path.resolve()), options=options, metadata_errors="replace")  # a title may be in any encoding
    except av.FFmpegError as error:
        raise VideoError(f"{path.name} is no video that can be read, or its index is cut off: {error.strerror}") from error


def _video_stream(container: Any, path: Path, limits: VideoLimits) -> Any:
    if not container.streams.video:
        raise VideoError(f"{path.name} holds no video stream, only {[stream.type for stream in container.streams]}")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise VideoError(f"{path.name} is coded in a way that this FFmpeg does not know")
    stream.thread_type = "AUTO"
    stream.codec_context.options = {"max_pixels": str(limits.decoder_pixels)}
    return stream


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration:
        return float(stream.duration * stream.time_base)
    if container.duration and len(container.streams) == 1:  # else it may be that of the sound
        return float(container.duration / av.time_base)
    return None


def _check_header(container: Any, stream: Any, limits: VideoLimits, path: Path) -> None:
    pixels = stream.codec_context.width * stream.codec_context.height
    if not pixels:  # what FFmpeg leaves of a size beyond max_pixels
        raise limits.too_large(path.name)
    limits.check_size(pixels, path.name)
    duration = _duration(container, stream)
    limits.check_length(duration, path.name)
    if stream.frames:  # a rate without it is a guess of FFmpeg: 1000 for what a browser records
        limits.check_frames(stream.frames, math.inf if duration is None else duration, path.name)


def _upright(frame: Any) -> UInt8Array:
    image: UInt8Array = frame.to_ndarray(format="rgb24")
    return rotate90(image, frame.rotation % 360 // 90)
