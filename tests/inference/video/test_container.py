"""Lengths, cuts and reasons of refusal of video files."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import analyse
from fer_pipeline.inference.video.decoding import VideoInfo, frames
from fer_pipeline.inference.video.limits import VideoLimits
from tests.inference.video.conftest import SMALL

Writer = Callable[[str, str, str], Path]


@pytest.fixture
def write_noise(tmp_path: Path) -> Writer:
    """Writes 50 frames of noise at 25 a second to a file that is named by its format."""

    def write(name: str, codec: str, pix_fmt: str = "yuv420p") -> Path:
        noise = np.random.default_rng(0).integers(0, 256, (50, 48, 64, 3), dtype=np.uint8)
        path = tmp_path / name
        with av.open(str(path), "w", format={"y4m": "yuv4mpegpipe"}.get(path.suffix[1:])) as target:
            stream: Any = target.add_stream(codec, rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
            stream.codec_context.time_base = Fraction(1, 25)
            for number, image in enumerate(noise):
                frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=pix_fmt)
                frame.pts, frame.time_base = number, Fraction(1, 25)
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        return path

    return write


def cut(path: Path, share: float = 0.5) -> Path:
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return path


def read_all(path: Path, limits: VideoLimits | None = None) -> tuple[list[float], list[str]]:
    damage: list[str] = []
    return [time for time, _ in frames(path, limits, on_damage=damage.append)], damage


@pytest.mark.parametrize("name", ["film.mkv", "film.asf", "film.ts", "film.mp4", "film.flv"])
def test_a_start_at_one_hour_is_no_part_of_the_length(name: str, tmp_path: Path, write_video: Any, spots: Any) -> None:
    codec = "flv" if name == "film.flv" else "mpeg4"
    path = write_video(tmp_path / name, [spots()] * 50, times=[3600 + n / 25 for n in range(50)], codec=codec)
    limits = VideoLimits(max_seconds=10)
    assert VideoInfo.read(path, limits).duration == pytest.approx(2.0, abs=0.1)
    times, damage = read_all(path, limits)
    assert (len(times), damage) == (50, [])
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(1.96, abs=0.05)


def test_a_length_shorter_than_the_start_is_a_length(tmp_path: Path, write_video: Any, spots: Any) -> None:
    """A writer that gives the length proper is believed where it is clear."""
    path = write_video(tmp_path / "film.mkv", [spots()] * 50, times=[3600 + n / 25 for n in range(50)])
    data = path.read_bytes()
    at = data.index(b"\x44\x89\x88") + 3  # Duration, a double of milliseconds

    assert struct.unpack(">d", data[at : at + 8])[0] > 3_600_000
    path.write_bytes(data[:at] + struct.pack(">d", 2000.0) + data[at + 8 :])
    assert VideoInfo.read(path).duration == pytest.approx(2.0)


@pytest.mark.parametrize(("name", "codec"), [("film.avi", "mpeg4"), ("film.flv", "flv"), ("film.ivf", "libvpx")])
def test_a_file_cut_inside_a_frame_says_so(name: str, codec: str, write_noise: Writer) -> None:
    path = write_noise(name, codec)
    assert read_all(path)[1] == []
    times, damage = read_all(cut(path))
    assert 10 < len(times) < 40
    assert "cut off inside a frame" in damage[0]


def test_a_cut_avi_has_the_length_of_its_header(write_noise: Writer) -> None:
    path = write_noise("film.avi", "mpeg4")
    info = VideoInfo.read(path)
    assert VideoInfo.read(cut(path, 0.3)) == info
    assert "the header says 2.0 s" in read_all(path)[1][0]


@pytest.mark.parametrize(
    ("name", "codec", "pix_fmt"),
    [
        ("film.h264", "libx264", "yuv420p"),
        ("film.m4v", "mpeg4", "yuv420p"),
        ("film.mjpeg", "mjpeg", "yuvj420p"),
        ("film.y4m", "rawvideo", "yuv420p"),
        ("film.gif", "gif", "rgb8"),
        ("film.apng", "apng", "rgb24"),
        ("film.ivf", "libvpx", "yuv420p"),
    ],
)
def test_streams_without_a_container_are_read(name: str, codec: str, pix_fmt: str, write_noise: Writer) -> None:
    path = write_noise(name, codec, pix_fmt)
    times, damage = read_all(path)
    assert damage == []
    assert times == pytest.approx([n / 25 for n in range(50)], abs=0.011)  # a GIF counts hundredths
    assert VideoInfo.read(path).width == 64


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is text", "no video that can be read, expected MP4, MOV"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(300), "its index is cut off or damaged"),
        (b"\x1aE\xdf\xa3" + bytes(20), "what follows its first bytes is cut off or damaged"),
        (b"GIF89a", "what follows its first bytes is cut off or damaged"),
        (b"RIFF\x00\x00\x00\x00AVI ", "what follows its first bytes is cut off or damaged"),
        (b"RIFF\x00\x00\x00\x00WAVE", "no video that can be read, expected MP4, MOV"),
    ],
)
def test_a_refusal_names_what_is_wrong(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "film").write_bytes(content)
    with pytest.raises(VideoError, match=reason):
        VideoInfo.read(tmp_path / "film")


@pytest.mark.attack
def test_a_pipe_or_a_folder_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path, tmp_path / "pipe.mp4"):
        with pytest.raises(VideoError, match="is no file, expected a video"):
            VideoInfo.read(path)


def test_a_face_through_the_whole_of_a_short_video_counts(
    tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer
) -> None:
    """A person of less than half a second is left out, unless the video is as short."""
    for count in (1, 5):
        path = write_video(tmp_path / f"{count}.mp4", [spots((10, 20, 40, 230))] * count)
        assert len(analyse(path, recognizer, tmp_path / str(count), options=SMALL).people) == 1
    path = write_video(tmp_path / "long.mp4", [spots((10, 20, 40, 230))] * 2 + [spots()] * 40)
    assert len(analyse(path, recognizer, tmp_path / "long", options=SMALL).people) == 0
