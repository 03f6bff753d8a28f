from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ParamsError, VideoError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoInfo, VideoLimits, VideoOptions, VideoProgress, analyse
from fer_pipeline.inference.video.report import write_report
from fer_pipeline.inference.video.summary import VideoSummary
from fer_pipeline.inference.video.writers import COLUMNS, clock
from fer_pipeline.labels import EMOTIONS

UInt8Array = npt.NDArray[np.uint8]
SMALL = VideoOptions(detection_side=160)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, write_video: Any, spots: Any) -> Path:
    """3 s, 25 frames a second. One face the whole time, happy for 2 s and then neutral; from 1 s to 2 s another, sad."""
    pictures = []
    for n in range(75):
        other = [(100, 60, 40, 160)] if 25 <= n < 50 else []
        pictures.append(spots((10, 20, 40, 125 if n < 50 else 230), *other))
    path: Path = write_video(tmp_path_factory.mktemp("film") / "film.mp4", pictures)
    return path


@pytest.fixture
def recognizer(brightness_model: Path, blobs: Any) -> Recognizer:
    return Recognizer.load(brightness_model, blobs)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]


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


def test_the_csv_table_says_the_same_as_the_json_lines(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    analyse(film, recognizer, tmp_path, options=SMALL)
    with (tmp_path / "faces.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert tuple(table[0]) == COLUMNS
    assert len(table) == len(rows(tmp_path))
    for line, row in zip(table, rows(tmp_path), strict=True):
        assert (int(line["frame"]), float(line["time"]), int(line["track"])) == (row["frame"], row["time"], row["track"])
        assert float(line["x"]) == row["box"]["x"]
        assert [float(line[name]) for name in EMOTIONS] == list(row["probabilities"].values())
        assert [float(line[f"smoothed_{name}"]) for name in EMOTIONS] == list(row["smoothed"].values())
        assert line["smoothed_emotion"] == row["smoothed_emotion"]


def test_the_subtitles_are_cues_without_overlap_that_end_with_the_film(
    film: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
    analyse(film, recognizer, tmp_path, options=SMALL)
    text = (tmp_path / "subtitles.vtt").read_text()
    assert text.startswith("WEBVTT\n\n")
    cues = re.findall(r"(\d\d):(\d\d):(\d\d\.\d{3}) --> (\d\d):(\d\d):(\d\d\.\d{3})\n(.+?)\n\n", text, re.DOTALL)
    spans = [(float(cue[2]), float(cue[5])) for cue in cues]
    assert cues[0][6] == "Person 1: happy"
    assert cues[1][6] == "Person 1: happy\nPerson 2: sad"
    assert cues[-1][6] == "Person 1: neutral"
    assert all(start < end for start, end in spans)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert spans[-1][1] == pytest.approx(3.0, abs=0.01)


def test_the_annotated_video_has_the_times_of_the_film_and_boxes(
    tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer
) -> None:
    times = [0.0, 0.04, 0.3, 0.34, 1.5, 1.52]
    path = write_video(tmp_path / "film.mp4", [spots((40, 40, 60, 125))] * 6, times=times)
    analyse(path, recognizer, tmp_path / "out", options=SMALL)
    with av.open(str(tmp_path / "out" / "annotated.webm")) as container:
        assert container.streams.video[0].codec_context.name == "vp9"
        found = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    assert [time for time, _ in found] == pytest.approx(times, abs=0.002)
    red, green, blue = found[0][1][70, 40].astype(int)  # on the left edge of the box, in the colour of "happy"
    assert min(red, green) > blue + 50


def test_odd_sizes_can_be_annotated(tmp_path: Path, recognizer: Recognizer, write_video: Any, spots: Any) -> None:
    path = write_video(tmp_path / "film.mkv", [spots((20, 20, 40, 125), size=(161, 121))] * 3, codec="ffv1")
    analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert VideoInfo.read(tmp_path / "out" / "annotated.webm").width == 161


def test_without_annotation_there_is_no_video(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    analyse(film, recognizer, tmp_path, options=VideoOptions(annotate=False, detection_side=160))
    assert not (tmp_path / "annotated.webm").exists()


def test_the_summary_tells_time_labels_and_peaks_of_each_person(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    summary = analyse(film, recognizer, tmp_path, options=SMALL)
    first, second = summary.people
    assert (first.track, second.track) == (1, 2)
    assert first.seen == pytest.approx(3.0, abs=0.01)
    assert first.shares["happy"] == pytest.approx(2 / 3, abs=0.15)  # neutral starts late by the smoothing
    assert sum(first.shares.values()) == pytest.approx(1)
    assert 1.0 <= second.seen <= 1.35  # it is followed for 0.3 s after it is gone
    assert first.changes_raw == 1
    assert set(first.peaks) == {"happy", "neutral"}
    assert first.peaks["neutral"].time > 2.5
    assert (tmp_path / first.peaks["happy"].file).read_bytes().startswith(b"\x89PNG")
    assert VideoSummary.finished(tmp_path, summary.fingerprint) == summary


def test_a_person_who_comes_back_late_is_a_new_one(tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer) -> None:
    pictures = [spots((40, 40, 60, 125)) if n // 40 != 1 else spots() for n in range(120)]
    path = write_video(tmp_path / "film.mp4", pictures)
    summary = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert [track.track for track in summary.tracks] == [1, 2]
    assert [track.first for track in summary.tracks] == pytest.approx([0.0, 3.2], abs=0.01)


def test_a_moving_drawn_face_is_one_person(
    tmp_path: Path, write_video: Any, drawn_face: UInt8Array, brightness_model: Path
) -> None:
    face = drawn_face[80:320, 180:420]
    pictures = []
    for n in range(30):
        picture = np.full((240, 480, 3), 150, np.uint8)
        picture[:, 6 * n : 6 * n + 240] = face
        pictures.append(picture)
    path = write_video(tmp_path / "film.mp4", pictures)
    summary = analyse(path, Recognizer.load(brightness_model), tmp_path / "out")
    assert len(summary.tracks) == 1
    assert summary.faces == 30
    left = [row["box"]["x"] for row in rows(tmp_path / "out")]
    assert left[5:] == pytest.approx([37 + 6 * n for n in range(5, 30)], abs=15)  # before the second search no speed is known


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


def test_a_finished_video_is_skipped_and_a_changed_question_is_not(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
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


def test_a_cancelled_run_leaves_what_it_has_and_a_later_one_completes_it(
    film: Path, recognizer: Recognizer, tmp_path: Path
) -> None:
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


def test_a_failure_on_the_way_leaves_what_there_is_with_the_reason(
    recognizer: Recognizer, write_video: Any, spots: Any, tmp_path: Path
) -> None:
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


def test_the_report_is_one_file_that_asks_for_nothing(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    page = write_report(tmp_path, analyse(film, recognizer, tmp_path, options=SMALL)).read_text()
    assert "film.mp4" in page
    assert "Person 1" in page
    assert "Person 2" in page
    assert page.count("data:image/svg+xml") == 1
    assert page.count("data:image/png") == 3  # happy, neutral; sad
    assert not re.findall(r'(?:src|href)="(?!data:|annotated\.webm|subtitles\.vtt|faces\.)', page)


def test_the_name_of_a_film_is_no_markup(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    odd = tmp_path / "<b>&.mp4"
    odd.write_bytes(film.read_bytes())
    page = write_report(tmp_path / "out", analyse(odd, recognizer, tmp_path / "out", options=SMALL)).read_text()
    assert "<b>&.mp4" not in page
    assert "&lt;b&gt;&amp;.mp4" in page


@pytest.mark.parametrize(("seconds", "text"), [(0, "00:00:00.000"), (3723.45, "01:02:03.450"), (59.9996, "00:01:00.000")])
def test_the_clock_of_the_subtitles(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_batches_of_nothing_are_refused() -> None:
    with pytest.raises(ParamsError, match="batch_frames"):
        VideoOptions(batch_frames=0)


def test_importing_the_video_part_is_light() -> None:
    code = "import sys, fer_pipeline.inference.video.analysis; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"tensorflow", "keras", "pandas", "pyarrow", "pydantic", "matplotlib", "jinja2", "rich", "typer"} & set(modules)
