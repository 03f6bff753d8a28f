"""Open video files with PyAV (FFmpeg) and decode their packets, within limits."""

from __future__ import annotations

import math
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.video.limits import VideoLimits

# By demuxer, so that no play list makes FFmpeg open other files or addresses. The second line is of streams without a container.
_FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,ogg,flv,asf,ivf,gif,apng,h264,hevc,m4v,obu,mjpeg,yuv4mpegpipe"
_OPEN = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}
_READABLE = "MP4, MOV, MKV, WebM, AVI, MPEG, Ogg, FLV, WMV, GIF, Y4M, raw H.264, HEVC, AV1, MPEG-4 or MJPEG"

_END_AS_DURATION = ("matroska,webm", "asf")
"""Demuxers that give the time of the end as the duration, also where the first frame is not at zero."""

_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide")
_SIGNATURES = {0: (b"\x1aE\xdf\xa3", b"OggS", b"FLV", b"GIF8", b"\x30\x26\xb2\x75", b"YUV4MPEG2"), 8: (b"AVI ",)}


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


def read_frames(
    container: Any,
    stream: Any,
    limits: VideoLimits,
    path: Path,
    on_broken: Callable[[], None] = lambda: None,
    on_cut: Callable[[], None] = lambda: None,
) -> Iterator[Any]:
    """Decode the frames of a stream.

    `on_broken` is called for each packet that cannot be decoded, `on_cut` where the file ends inside a packet. Raises
    `VideoError` for a frame beyond the limit of pixels.
    """
    packets = container.demux(stream)
    cut = False
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:  # nothing can be read after it
            cut, packet = True, None
        if packet is None:
            if cut:
                on_cut()
            return
        if packet.size:  # the last one is empty: it only flushes the decoder
            cut = packet.is_corrupt
        try:
            decoded = packet.decode()
        except av.ArgumentError as error:  # what the decoder says of max_pixels, before it has memory for the frame
            raise limits.too_large(path.name) from error
        except av.FFmpegError:
            on_broken()
            continue
        yield from decoded


def _opened(path: Path, limits: VideoLimits) -> Any:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would wait for its writer
            raise VideoError(f"{path} is no file, expected a video")
        with path.open("rb") as file:
            head = file.read(12)
    except FileNotFoundError as error:
        raise VideoError(f"no video in {path}: the file is missing") from error
    except OSError as error:
        raise VideoError(f"{path} cannot be read: {error.strerror}") from error
    try:
        # An absolute path cannot be taken for a protocol. Where a header does not tell all, FFmpeg decodes a frame already here.
        options = {**_OPEN, "max_pixels": str(limits.decoder_pixels)}
        return av.open(str(path.resolve()), options=options, metadata_errors="replace")  # a title may be in any encoding
    except av.FFmpegError as error:
        raise VideoError(f"{path.name} {_why_not(head)}: {error.strerror}") from error


def _why_not(head: bytes) -> str:
    """Name the likely reason why a file with these first 12 bytes cannot be opened."""
    if not head:
        return "is empty, expected a video"
    if head[4:8] in _MP4_BOXES:
        return "is an MP4 or MOV that cannot be read: its index is cut off or damaged, copy or record it again"
    if any(head[at:].startswith(signatures) for at, signatures in _SIGNATURES.items()):
        return "is no video that can be read: what follows its first bytes is cut off or damaged"
    return f"is no video that can be read, expected {_READABLE}"


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
    """Return the duration in seconds that the header states, None if unknown."""
    if stream.duration:
        seconds = float(stream.duration * stream.time_base)
    elif container.duration and len(container.streams) == 1:  # else it may be that of the sound
        seconds = float(container.duration / av.time_base)
    else:
        return None
    if container.format.name in _END_AS_DURATION:
        start = (container.start_time or 0) / av.time_base
        return round(seconds - start, 6) if 0 < start < seconds else seconds
    if container.format.name == "avi" and stream.average_rate:  # of a cut file FFmpeg gives the part that is left
        return max(seconds, float(stream.frames / stream.average_rate))
    return seconds


def _check_header(container: Any, stream: Any, limits: VideoLimits, path: Path) -> None:
    pixels = stream.codec_context.width * stream.codec_context.height
    if not pixels:  # what FFmpeg leaves of a size beyond max_pixels
        raise limits.too_large(path.name)
    limits.check_size(pixels, path.name)
    duration = stated_duration(container, stream)
    limits.check_length(duration, path.name)
    if stream.frames:  # a rate without it is a guess of FFmpeg: 1000 for what a browser records
        limits.check_frames(stream.frames, math.inf if duration is None else duration, path.name)
