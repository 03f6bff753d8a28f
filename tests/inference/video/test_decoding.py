from __future__ import annotations

import threading
import time
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import VideoError
from fer_pipeline.inference.video import container, decoding
from fer_pipeline.inference.video.decoding import VideoInfo, frames
from fer_pipeline.inference.video.limits import VideoLimits

UInt8Array = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, write_video: Any, spots: Any) -> Path:
    """60 frames of 160x120, 25 a second; frame n is as bright as 2 n."""
    path: Path = write_video(tmp_path_factory.mktemp("film") / "film.mkv", [spots((0, 0, 160, 2 * n)) for n in range(60)])
    return path


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_frames_come_in_order_with_their_times(film: Path) -> None:
    found = list(frames(film))
    assert [time for time, _ in found] == pytest.approx([n / 25 for n in range(60)])
    assert all(image.shape == (120, 160, 3) and image.dtype == np.uint8 for _, image in found)
    assert [float(image.mean()) for _, image in found] == pytest.approx([2 * n for n in range(60)], abs=3)
    assert threads() == []


def test_the_header_tells_size_length_and_codec(tmp_path: Path, write_video: Any, spots: Any) -> None:
    path = write_video(tmp_path / "film.mp4", [spots()] * 50)
    assert VideoInfo.read(path) == VideoInfo(160, 120, pytest.approx(2.0), pytest.approx(25), 50, 0, "mpeg4")  # type: ignore[arg-type]


def test_times_of_a_variable_frame_rate_are_those_of_the_stream(tmp_path: Path, write_video: Any, spots: Any) -> None:
    times = [0.0, 0.04, 0.3, 0.34, 1.5, 1.52]
    path = write_video(tmp_path / "film.mp4", [spots()] * 6, times=times)
    assert [time for time, _ in frames(path)] == pytest.approx(times, abs=0.002)


@pytest.mark.parametrize(
    ("rotation", "shape", "corner"),  # where the bright top left corner of the stored frames must appear: (row, column)
    [(90, (160, 120, 3), (-5, 5)), (180, (120, 160, 3), (-5, -5)), (-90, (160, 120, 3), (5, -5))],
)
def test_the_rotation_flag_turns_frames_upright(
    tmp_path: Path, write_video: Any, spots: Any, rotation: int, shape: tuple[int, ...], corner: tuple[int, int]
) -> None:
    path = write_video(tmp_path / "film.mp4", [spots((0, 0, 30, 250))] * 3, rotation=rotation)
    info = VideoInfo.read(path)
    assert (info.height, info.width, info.rotation) == (*shape[:2], rotation % 360)
    for _, image in frames(path):
        assert image.shape == shape
        assert image[corner].min() > 200
        assert image.mean() < 30


def test_a_file_that_ends_early_gives_its_frames_and_says_so(film: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.mkv"
    data = film.read_bytes()
    cut.write_bytes(data[: len(data) // 2])
    damage: list[str] = []
    found = list(frames(cut, on_damage=damage.append))
    assert 5 < len(found) < 60
    assert len(damage) == 1
    assert "cut.mkv" in damage[0]
    with pytest.raises(VideoError, match=r"cut\.mkv"):
        list(frames(cut))


def test_damaged_packets_are_counted_and_the_others_given(tmp_path: Path, write_video: Any) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 120, 160, 3), dtype=np.uint8)
    path = write_video(tmp_path / "film.mp4", list(noise))
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : len(data) // 3 + 60_000] = bytes(60_000)
    path.write_bytes(data)
    damage: list[str] = []
    assert len(list(frames(path, on_damage=damage.append))) > 10
    assert "cannot be decoded" in damage[0]
    assert VideoInfo.read(path).frames == 60


def test_a_file_without_its_index_is_refused(tmp_path: Path, write_video: Any, spots: Any) -> None:
    path = write_video(tmp_path / "film.mp4", [spots()] * 50)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(VideoError, match="index is cut off"):
        list(frames(path))


def write_sound(path: Path) -> None:
    import av

    with wave.open(str(path.with_suffix(".wav")), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with av.open(str(path.with_suffix(".wav"))) as source, av.open(str(path), "w") as target:
        stream = target.add_stream("aac", rate=8000)
        for frame in source.decode(audio=0):
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))


@pytest.mark.parametrize("read", [lambda path: list(frames(path)), VideoInfo.read])
def test_sound_alone_is_no_video(tmp_path: Path, read: Any) -> None:
    write_sound(tmp_path / "song.mp4")
    with pytest.raises(VideoError, match="no video stream"):
        read(tmp_path / "song.mp4")


@pytest.mark.parametrize("read", [lambda path: list(frames(path)), VideoInfo.read])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\x00\x00\x18ftypmp42" + bytes(300), b"RIFF\x00\x00\x00\x00AVI "])
def test_a_file_that_is_no_video_is_refused(tmp_path: Path, read: Any, content: bytes) -> None:
    (tmp_path / "film.mp4").write_bytes(content)
    with pytest.raises(VideoError, match=r"film\.mp4"):
        read(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    "text", ["#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", "ffconcat version 1.0\nfile '{}'\n"]
)
def test_a_play_list_opens_no_other_file(tmp_path: Path, film: Path, text: str) -> None:
    (tmp_path / "list.mp4").write_text(text.format(film))
    with pytest.raises(VideoError, match="no video that can be read"):
        list(frames(tmp_path / "list.mp4"))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VideoError, match="the file is missing"):
        VideoInfo.read(tmp_path / "film.mp4")


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        (VideoLimits(max_pixels=160 * 120 - 1), "pixels a frame"),
        (VideoLimits(max_seconds=1.0), "lasts"),
        (VideoLimits(max_frames=20), "more than 20 frames"),
        (VideoLimits(max_fps=12), "more than 12 frames a second"),
    ],
)
def test_a_video_beyond_the_limits_is_refused(film: Path, limits: VideoLimits, reason: str) -> None:
    with pytest.raises(VideoError, match=reason):
        list(frames(film, limits))
    assert threads() == []


@pytest.mark.parametrize("limits", [VideoLimits(max_frames=59), VideoLimits(max_fps=12)])
def test_a_header_with_too_many_frames_is_refused_at_once(
    tmp_path: Path, write_video: Any, spots: Any, limits: VideoLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header that tells too many frames is believed before one is decoded."""
    path = write_video(tmp_path / "film.mp4", [spots()] * 60)  # unlike Matroska, MP4 has the number of frames in its header
    monkeypatch.setattr(decoding, "read_frames", lambda *_: pytest.fail("decoded"))
    for read in (VideoInfo.read, lambda path, limits: list(frames(path, limits))):
        with pytest.raises(VideoError, match="more than"):
            read(path, limits)


def test_frames_with_the_same_time_exceed_the_frame_rate(tmp_path: Path, write_video: Any, spots: Any) -> None:
    """Frames that all have the same time are too many a second."""
    path = write_video(tmp_path / "film.mkv", [spots()] * 40, times=[n / 1000 for n in range(40)])
    assert len(list(frames(path, VideoLimits(max_fps=60)))) == 40  # a short burst may be
    with pytest.raises(VideoError, match="more than 30 frames a second"):
        list(frames(path, VideoLimits(max_fps=30)))


@pytest.mark.parametrize("limits", [VideoLimits(max_pixels=160 * 120 - 1), VideoLimits(max_seconds=1.0)])
def test_a_video_beyond_the_limits_is_refused_before_decoding(
    film: Path, limits: VideoLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A video beyond the limits is refused before a frame is decoded."""
    monkeypatch.setattr(decoding, "read_frames", lambda *_: pytest.fail("a frame was decoded"))
    with pytest.raises(VideoError):
        VideoInfo.read(film, limits)


def test_a_header_that_says_less_than_there_is_does_not_help(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "stated_duration", lambda *_: None)
    with pytest.raises(VideoError, match=r"lasts 1\.0 s"):
        list(frames(film, VideoLimits(max_seconds=1.0)))


def test_the_thread_ends_when_the_reader_stops_early(film: Path) -> None:
    source = frames(film)
    next(source)
    assert len(threads()) == 1
    source.close()
    assert threads() == []


def test_the_thread_ends_when_the_reader_fails(film: Path) -> None:
    def fail() -> None:
        for _ in frames(film):
            raise RuntimeError("reader failed")

    with pytest.raises(RuntimeError, match="reader failed"):
        fail()
    assert threads() == []


def test_only_a_few_frames_are_decoded_ahead(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = decoding._upright
    monkeypatch.setattr(decoding, "_upright", lambda frame: (made.append(1), real(frame))[1])
    source = frames(film)
    next(source)
    time.sleep(0.4)
    assert len(made) <= 18  # the queue, the one being read and the one that waits for a place
    source.close()


@pytest.mark.parametrize("name", ["film.mp4", "film.webm", "film.ts"])  # WebM: FFmpeg asks the decoder for what the header says
def test_the_pixels_are_checked_before_a_frame_is_decoded(name: str, tmp_path: Path, write_video: Any, spots: Any) -> None:
    codec = "libvpx-vp9" if name == "film.webm" else "mpeg4"
    path = write_video(tmp_path / name, [spots(size=(1280, 1024))] * 2, codec=codec)
    assert VideoInfo.read(path, VideoLimits(max_pixels=1280 * 1024)).width == 1280
    for read in (VideoInfo.read, lambda path, limits: list(frames(path, limits))):
        with pytest.raises(VideoError, match="pixels a frame"):
            read(path, VideoLimits(max_pixels=1000))


def test_a_video_that_grows_beyond_the_limit_is_refused_there(tmp_path: Path, write_video: Any, spots: Any) -> None:
    """A video that grows beyond the limit is refused where it does."""
    small = write_video(tmp_path / "small.ts", [spots()] * 10)
    large = write_video(tmp_path / "large.ts", [spots(size=(640, 480))] * 10)
    path = tmp_path / "film.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    limits = VideoLimits(max_pixels=160 * 120 * 2)
    assert VideoInfo.read(path, limits).width == 160
    with pytest.raises(VideoError, match="pixels a frame"):
        list(frames(path, limits))


def test_a_title_in_another_encoding_does_not_matter(tmp_path: Path, write_video: Any, spots: Any) -> None:
    path = write_video(tmp_path / "film.mp4", [spots()] * 3)
    with av.open(str(path)) as source, av.open(str(tmp_path / "titled.mp4"), "w") as target:
        target.metadata["title"] = "Gruesse"
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    latin = (tmp_path / "titled.mp4").read_bytes().replace(b"Gruesse", "Gr\xfc\xdfe..".encode("latin-1"))
    (tmp_path / "latin.mp4").write_bytes(latin)
    with pytest.raises(UnicodeDecodeError):
        av.open(str(tmp_path / "latin.mp4"))
    assert VideoInfo.read(tmp_path / "latin.mp4").width == VideoInfo.read(path).width
    assert len(list(frames(tmp_path / "latin.mp4"))) == 3
