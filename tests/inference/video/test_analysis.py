from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import av
import pytest

from fer_pipeline.errors import ParamsError, VideoError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoLimits, VideoOptions, VideoProgress, analyse
from fer_pipeline.inference.video.report import write_report
from tests.inference.video.conftest import SMALL, rows


def test_each_face_of_each_frame_has_its_answer(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    summary = analyse(film, recognizer, tmp_path, options=SMALL)
    found = rows(tmp_path)
    by_track = {track: [row for row in found if row["track"] == track] for track in (1, 2)}
    assert summary.frames == 75
    assert summary.faces == len(found) == len(by_track[1]) + len(by_track[2])
    assert [row["frame"] for row in by_track[1]] == list(range(75))
    assert [row["time"] for row in by_track[1]] == pytest.approx([n / 25 for n in range(75)], abs=0.001)
    assert [row["emotion"] for row in by_track[1]] == ["happy"] * 50 + ["neutral"] * 25
    assert {row["emotion"] for row in by_track[2] if row["frame"] < 50} == {"sad"}
    assert by_track[2][0]["box"] == pytest.approx({"x": 100, "y": 60, "width": 40, "height": 40}, abs=3)


def test_raw_and_smoothed_answers_are_both_kept(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    analyse(film, recognizer, tmp_path, options=SMALL)
    first = [row for row in rows(tmp_path) if row["track"] == 1]
    assert first[50]["emotion"] == "neutral"
    assert first[50]["smoothed_emotion"] == "happy"
    assert first[74]["smoothed_emotion"] == "neutral"
    assert sum(first[60]["smoothed"].values()) == pytest.approx(1, abs=1e-4)


def test_without_annotation_there_is_no_video(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    analyse(film, recognizer, tmp_path, options=VideoOptions(annotate=False, detection_side=160))
    assert not (tmp_path / "annotated.webm").exists()


def test_a_film_without_faces_has_empty_tables(tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer) -> None:
    path = write_video(tmp_path / "film.mp4", [spots()] * 10)
    summary = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert (summary.faces, summary.tracks, rows(tmp_path / "out")) == (0, (), [])
    page = write_report(tmp_path / "out", summary).read_text()
    assert "No face was seen" in page


def test_progress_grows_to_the_end(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    told: list[VideoProgress] = []
    analyse(film, recognizer, tmp_path, options=SMALL, on_progress=told.append)
    assert [progress.frames for progress in told] == sorted(progress.frames for progress in told)
    assert told[-1].frames == 75
    assert told[-1].fraction == 1
    assert VideoProgress(3, 0, 1.0, None).fraction is None


def test_a_finished_video_is_skipped_with_the_same_options(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    """A finished video is skipped and a changed question is not."""
    first = analyse(film, recognizer, tmp_path, options=SMALL)
    written = (tmp_path / "faces.jsonl").stat().st_mtime_ns
    again = analyse(film, recognizer, tmp_path, options=SMALL)
    assert (first.skipped, again.skipped) == (False, True)
    assert again == first
    assert (tmp_path / "faces.jsonl").stat().st_mtime_ns == written
    other = analyse(film, recognizer, tmp_path, options=VideoOptions(detection_side=160, smoothing_seconds=0))
    assert not other.skipped


@pytest.mark.parametrize("text", ["", "[]", '{"tracks": []}', "{broken"])
def test_a_summary_that_cannot_be_read_is_written_anew(film: Path, recognizer: Recognizer, tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    assert not analyse(film, recognizer, tmp_path, options=SMALL).skipped


def test_a_cancelled_run_keeps_results_and_is_completed_later(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    """A cancelled run leaves what it has and a later one completes it."""
    cancelled = threading.Event()
    part = analyse(
        film,
        recognizer,
        tmp_path,
        options=SMALL,
        on_progress=lambda done: cancelled.set() if done.frames else None,
        cancelled=cancelled,
    )
    assert not part.complete
    assert part.notes == ("cancelled",)
    assert 0 < part.frames < 75
    assert max(row["frame"] for row in rows(tmp_path)) == part.frames - 1
    with av.open(str(tmp_path / "annotated.webm")) as container:
        assert sum(1 for _ in container.decode(video=0)) == part.frames
    assert "Not complete" in write_report(tmp_path, part).read_text()
    assert analyse(film, recognizer, tmp_path, options=SMALL).frames == 75


def test_a_failure_keeps_the_results_so_far_with_the_reason(
    recognizer: Recognizer, write_video: Any, spots: Any, tmp_path: Path
) -> None:
    """A failure on the way leaves what there is with the reason."""
    # The header of Matroska does not tell the number of frames.
    endless = write_video(tmp_path / "film.mkv", [spots((10, 20, 40, 125))] * 60)
    with pytest.raises(VideoError, match="more than 40 frames"):
        analyse(endless, recognizer, tmp_path, options=VideoOptions(detection_side=160, limits=VideoLimits(max_frames=40)))
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert not summary["complete"]
    assert "more than 40 frames" in summary["notes"][0]
    assert len(rows(tmp_path)) >= 32


def test_a_failure_of_the_listener_ends_the_decoder(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    def fail(_: VideoProgress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        analyse(film, recognizer, tmp_path, options=SMALL, on_progress=fail)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]
    assert json.loads((tmp_path / "summary.json").read_text())["notes"] == ["KeyboardInterrupt"]


def test_a_damaged_film_is_read_as_far_as_it_goes_and_says_so(
    tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer
) -> None:
    whole = write_video(tmp_path / "whole.mkv", [spots((40, 40, 60, 125))] * 100)
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    summary = analyse(cut, recognizer, tmp_path / "out", options=SMALL)
    assert 0 < summary.frames < 100
    assert summary.notes


def test_results_leave_other_files_of_the_folder_alone(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    (tmp_path / "peaks").mkdir()
    (tmp_path / "peaks" / "person-0099-fear.png").write_text("of an earlier run")
    analyse(film, recognizer, tmp_path, options=SMALL)
    assert (tmp_path / "mine.txt").read_text() == "mine"
    assert not (tmp_path / "peaks" / "person-0099-fear.png").exists()


def test_batches_of_nothing_are_refused() -> None:
    with pytest.raises(ParamsError, match="batch_frames"):
        VideoOptions(batch_frames=0)


def test_importing_the_video_part_is_light() -> None:
    code = "import sys, fer_pipeline.inference.video.analysis; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "pandas", "pyarrow", "pydantic", "matplotlib", "jinja2", "rich", "typer"} & set(modules)
