from __future__ import annotations

import pytest

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.video.limits import VideoLimits

LIMITS = VideoLimits(max_pixels=100, max_seconds=10.0, max_frames=50, max_fps=4.0)


def test_values_at_the_limits_are_allowed() -> None:
    LIMITS.check_size(100, "film.mp4")
    LIMITS.check_length(10.0, "film.mp4")
    LIMITS.check_frames(50, 20.0, "film.mp4")
    LIMITS.check_frames(40, 9.0, "film.mp4")  # a second's worth of frames more than the rate


def test_values_above_the_limits_are_refused_with_the_limit() -> None:
    with pytest.raises(VideoError, match=r"film\.mp4 has 101 pixels a frame, at most 100"):
        LIMITS.check_size(101, "film.mp4")
    with pytest.raises(VideoError, match=r"film\.mp4 lasts 10\.1 s, at most 10 s"):
        LIMITS.check_length(10.1, "film.mp4")
    with pytest.raises(VideoError, match=r"film\.mp4 has more than 50 frames"):
        LIMITS.check_frames(51, 100.0, "film.mp4")
    with pytest.raises(VideoError, match=r"film\.mp4 has more than 4 frames a second"):
        LIMITS.check_frames(41, 9.0, "film.mp4")


def test_an_unknown_length_and_no_limits_are_allowed() -> None:
    LIMITS.check_length(None, "film.mp4")
    VideoLimits().check_length(1e9, "film.mp4")
    VideoLimits().check_frames(10**9, 1.0, "film.mp4")


def test_frames_of_the_largest_size_are_decoded() -> None:
    """With the edges that the decoder adds to them."""
    assert LIMITS.decoder_pixels > LIMITS.max_pixels
    assert "more than 100 pixels a frame" in str(LIMITS.too_large("film.mp4"))
