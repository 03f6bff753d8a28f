"""Reads video files with PyAV (FFmpeg): facts from the header, and upright RGB frames with the times of the stream."""

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
from fer_pipeline.imaging import UInt8Array, turned

# By demuxer, so that no play list makes FFmpeg open other files or addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf"
_OPEN = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}

_QUEUE_BYTES = 64_000_000
_QUEUE_FRAMES = 16


@dataclass(frozen=True)
class VideoLimits:
    """The largest video that is read; None: any length or rate. Pixels are those of one frame.

    Headers are believed where they tell more than is allowed; where they tell less, the limits are met while decoding.
    """

    max_pixels: int = 4096 * 2304
    max_seconds: float | None = None
    max_frames: int | None = None
    max_fps: float | None = None  # in the mean; a second's worth of frames may come at once


@dataclass(frozen=True)
class VideoInfo:
    """What a file says of its first video stream.

    `width` and `height` are those of the upright frames; `rotation` is how far they were turned for it, in degrees against the
    clock: 0, 90, 180 or 270. `duration` in seconds, `fps` (a mean) and `frames` are None where the header does not tell.
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
        """The facts of a file; decodes its first frame, if its header is within the limits.

        Raises `VideoError` where it is no video or beyond the limits.
        """
        limits = limits or VideoLimits()
        with _opened(path, limits) as container:
            stream = _video_stream(container, path, limits)
            _check_header(container, stream, limits, path)
            first = next(_readable(container, stream, limits, path, lambda: None), None)
            if first is None:
                raise VideoError(f"{path.name} has a video stream, but not one frame of it can be decoded")
            _check_size(first.width * first.height, limits, path)
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
    """Time in seconds from the start of the file, never falling, and RGB uint8 (H, W, 3), upright, of each frame.

    Decodes in a thread of its own, a few frames ahead; close the iterator (or drain it) to end the thread. Raises `VideoError`
    where the file is no video or beyond the limits. Where parts of it cannot be decoded, the others are given, and then
    `on_damage` is told in words what is missing; without it that is a `VideoError`, too.
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
        yield from decoder.given()
        if decoder.damage:
            text = f"{path.name}: {'; '.join(decoder.damage)}"
            if on_damage is None:
                raise VideoError(text)
            on_damage(text)
    finally:
        decoder.end()


class _Decoder(threading.Thread):
    """Puts (time, frame) into a bounded queue, then None, or the exception that ended it; owns the container."""

    def __init__(self, container: Any, stream: Any, path: Path, limits: VideoLimits, ahead: int) -> None:
        super().__init__(name=f"decode {path.name}", daemon=True)
        self.damage: list[str] = []
        self._container, self._stream, self._path, self._limits = container, stream, path, limits
        self._queue: queue.Queue[tuple[float, UInt8Array] | BaseException | None] = queue.Queue(ahead)
        self._ending = threading.Event()
        self._broken = 0

    def given(self) -> Iterator[tuple[float, UInt8Array]]:
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
        except BaseException as error:  # whatever it is, it belongs to the thread that reads the frames
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
            _check_size(frame.width * frame.height, self._limits, self._path)
            _check_length(time, self._limits, self._path)
            _check_frames(count, time, self._limits, self._path)
            self._put((time, _upright(frame)))
        if count == 0:
            raise VideoError(f"{self._path.name} has a video stream, but not one frame of it can be decoded")
        if self._broken:
            self.damage.append(f"{self._broken} packets cannot be decoded")
        said = _duration(self._container, self._stream)
        if said is not None and said - time > max(1.0, 0.02 * said) + 2 * step:
            self.damage.append(f"frames end at {time:.1f} s, the header says {said:.1f} s")

    def _count_broken(self) -> None:
        self._broken += 1


def _readable(container: Any, stream: Any, limits: VideoLimits, path: Path, on_broken: Callable[[], None]) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # the file ends inside a packet, and nothing can be read behind that
            on_broken()
            return
        if packet is None:
            return
        try:
            decoded = packet.decode()
        except av.ArgumentError as error:  # what the decoder says of max_pixels, before it has memory for the frame
            raise _too_large(limits, path) from error
        except av.FFmpegError:
            on_broken()
            continue
        yield from decoded


def _opened(path: Path, limits: VideoLimits) -> Any:
    if not path.is_file():
        raise VideoError(f"no video in {path}: the file is missing")
    try:
        # An absolute path cannot be taken for a protocol. Where a header does not tell all, FFmpeg decodes a frame already here.
        options = {**_OPEN, "max_pixels": str(_decoder_pixels(limits))}
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
    stream.codec_context.options = {"max_pixels": str(_decoder_pixels(limits))}
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
        raise _too_large(limits, path)
    _check_size(pixels, limits, path)
    duration = _duration(container, stream)
    _check_length(duration, limits, path)
    if stream.frames:  # a rate without it is a guess of FFmpeg: 1000 for what a browser records
        _check_frames(stream.frames, math.inf if duration is None else duration, limits, path)


def _decoder_pixels(limits: VideoLimits) -> int:
    # Decoders count the edges that they add, and refuse without the size: so some room, and the exact limit is for _check_size.
    return 2 * limits.max_pixels + 1_000_000


def _too_large(limits: VideoLimits, path: Path) -> VideoError:
    return VideoError(f"{path.name} has more than {limits.max_pixels:,} pixels a frame, or no valid size: scale it down")


def _check_size(pixels: int, limits: VideoLimits, path: Path) -> None:
    if pixels > limits.max_pixels:
        raise VideoError(f"{path.name} has {pixels:,} pixels a frame, at most {limits.max_pixels:,} are read: scale it down")


def _check_length(seconds: float | None, limits: VideoLimits, path: Path) -> None:
    if limits.max_seconds is not None and seconds is not None and seconds > limits.max_seconds:
        raise VideoError(f"{path.name} lasts {seconds:.1f} s, at most {limits.max_seconds:g} s are read: cut it into parts")


def _check_frames(count: int, seconds: float, limits: VideoLimits, path: Path) -> None:
    if limits.max_frames is not None and count > limits.max_frames:
        raise VideoError(f"{path.name} has more than {limits.max_frames:,} frames: cut it into parts")
    if limits.max_fps is not None and count > limits.max_fps * (seconds + 1):
        raise VideoError(f"{path.name} has more than {limits.max_fps:g} frames a second: convert it to fewer")


def _upright(frame: Any) -> UInt8Array:
    image: UInt8Array = frame.to_ndarray(format="rgb24")
    return turned(image, frame.rotation % 360 // 90)
