"""Open video files with PyAV (FFmpeg) and decode their packets, within limits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.video.limits import VideoLimits

# By demuxer, so that no play list makes FFmpeg open other files or addresses.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf"
_OPEN = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}


def open_video(path: Path, limits: VideoLimits) -> tuple[Any, Any]:
    """Open a video file; return its container and its first video stream.

    Raises `VideoError` where the file is not a video, or its header is beyond the limits.
    """
    container = _opened(path, limits)
    try:
        stream = _video_stream(container, path, limits)
        _check_header(container, stream, limits, path)
    except BaseException:
        container.close()
        raise
    return container, stream


def read_frames(container: Any, stream: Any, limits: VideoLimits, path: Path, on_broken: Callable[[], None]) -> Iterator[Any]:
    """Decode the frames of a stream.

    `on_broken` is called for each packet that cannot be decoded. Raises `VideoError` for a frame beyond the limit of pixels.
    """
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


def stated_duration(container: Any, stream: Any) -> float | None:
    """Return the duration in seconds that the header states; None where it is unknown."""
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
    duration = stated_duration(container, stream)
    limits.check_length(duration, path.name)
    if stream.frames:  # a rate without it is a guess of FFmpeg: 1000 for what a browser records
        limits.check_frames(stream.frames, math.inf if duration is None else duration, path.name)
