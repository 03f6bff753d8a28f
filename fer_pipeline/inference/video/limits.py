"""Limits of the videos that are read."""

from __future__ import annotations

from dataclasses import dataclass

from fer_pipeline.errors import VideoError


@dataclass(frozen=True)
class VideoLimits:
    """Upper limits of a video; None is no limit. `max_pixels` are those of one frame.

    A header that states more than is allowed is enough to refuse a video. Where it states less, the limits apply while decoding.
    The checks raise `VideoError`; `name` is the file's name for the message.
    """

    max_pixels: int = 4096 * 2304
    max_seconds: float | None = None
    max_frames: int | None = None
    max_fps: float | None = None  # on average; the frames of one second may come at once

    @property
    def decoder_pixels(self) -> int:
        """Limit for FFmpeg's decoders, which count the edges they add to a frame.

        It is larger than `max_pixels`, so that `check_size` applies the exact limit.
        """
        return 2 * self.max_pixels + 1_000_000

    def too_large(self, name: str) -> VideoError:
        """Return the error for a frame that the decoder refused for its size."""
        return VideoError(f"{name} has more than {self.max_pixels:,} pixels a frame, or no valid size: scale it down")

    def check_size(self, pixels: int, name: str) -> None:
        """Check the number of pixels of a frame."""
        if pixels > self.max_pixels:
            raise VideoError(f"{name} has {pixels:,} pixels a frame, at most {self.max_pixels:,} are read: scale it down")

    def check_length(self, seconds: float | None, name: str) -> None:
        """Check the length in seconds; None where it is unknown."""
        if self.max_seconds is not None and seconds is not None and seconds > self.max_seconds:
            raise VideoError(f"{name} lasts {seconds:.1f} s, at most {self.max_seconds:g} s are read: cut it into parts")

    def check_frames(self, count: int, seconds: float, name: str) -> None:
        """Check the number of frames, and their rate over `seconds`."""
        if self.max_frames is not None and count > self.max_frames:
            raise VideoError(f"{name} has more than {self.max_frames:,} frames: cut it into parts")
        if self.max_fps is not None and count > self.max_fps * (seconds + 1):
            raise VideoError(f"{name} has more than {self.max_fps:g} frames a second: convert it to fewer")
