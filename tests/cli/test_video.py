from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ParamsError
from tests.fixtures.commands import fer

UInt8Array = npt.NDArray[np.uint8]

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def film(tmp_path: Path, write_video: Any, drawn_face: UInt8Array) -> str:
    write_video(tmp_path / "film.mp4", [drawn_face] * 20)
    return "film.mp4"


def test_video_writes_all_files_and_is_skipped_the_second_time(film: str, tmp_path: Path, brightness_model: Path) -> None:
    """The folder's name holds a colon and brackets, which are neither a protocol of FFmpeg nor markup."""
    done = fer("video", film, "--out", "results:[1]", "--model", brightness_model)
    assert done.exit_code == 0, done.output
    assert "film.mp4: 20 frames, 20 faces, 1 person; report: results:[1]/film/report.html" in done.stdout
    assert {file.name for file in (tmp_path / "results:[1]" / "film").iterdir()} == {
        "annotated.webm", "faces.csv", "faces.jsonl", "faces.parquet", "peaks", "report.html", "subtitles.vtt", "summary.json"
    }  # fmt: skip
    again = fer("video", film, "--out", "results:[1]", "--model", brightness_model)
    assert "finished before, skipped" in again.stdout


def test_the_parquet_table_holds_what_the_csv_holds(film: str, tmp_path: Path, brightness_model: Path) -> None:
    import pyarrow.parquet as pq

    fer("video", film, "--out", "results", "--no-annotated", "--model", brightness_model)
    table = pq.read_table(tmp_path / "results" / "film" / "faces.parquet")
    with (tmp_path / "results" / "film" / "faces.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert table.column_names == list(rows[0])
    assert table["frame"].to_pylist() == [int(row["frame"]) for row in rows] == list(range(20))
    for name in ("time", "x", "happy", "smoothed_sad", "brightness", "detection_score"):
        assert table[name].to_pylist() == pytest.approx([float(row[name]) for row in rows])
    assert table["emotion"].to_pylist() == [row["emotion"] for row in rows]


def test_the_parquet_table_is_written_a_row_group_at_a_time(tmp_path: Path, film: str, brightness_model: Path) -> None:
    import pyarrow.parquet as pq

    from fer_pipeline.inference.video import table

    fer("video", film, "--out", "results", "--no-annotated", "--model", brightness_model)
    folder = tmp_path / "results" / "film"
    lines = (folder / "faces.jsonl").read_text()
    (folder / "faces.jsonl").write_text(lines * 1100)
    file = pq.ParquetFile(table.write_table(folder))
    assert file.metadata.num_rows == 22_000
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [10_000, 10_000, 2_000]
    (folder / "faces.jsonl").write_text("")
    assert pq.read_table(table.write_table(folder)).num_rows == 0
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize(("temporal", "changes"), [("none", 7), ("smooth", 1), ("hmm", 1)])
def test_the_temporal_model_decides_how_steady_a_label_is(
    temporal: str, changes: int, tmp_path: Path, write_video: Any, drawn_face: UInt8Array, brightness_model: Path
) -> None:
    # Three lone frames within the first second and a half are of another brightness, and so are all frames from 2 s on.
    bright = drawn_face[::2, ::2]
    dark = (bright * 0.6).astype(np.uint8)
    write_video(tmp_path / "film.mp4", [dark if n in (12, 24, 36) or n >= 50 else bright for n in range(80)])
    options = ("--no-annotated", "--temporal", temporal, "--model", brightness_model, "--threshold", "0")
    done = fer("video", "film.mp4", "--out", "results", *options)
    assert done.exit_code == 0, done.output
    (track,) = json.loads((tmp_path / "results" / "film" / "summary.json").read_text())["tracks"]
    assert track["changes_raw"] == 7
    assert track["changes_smoothed"] == changes


def test_an_unknown_temporal_model_is_refused(film: str, brightness_model: Path) -> None:
    error = fer("video", film, "--out", "results", "--temporal", "viterbi", "--model", brightness_model).exception
    assert isinstance(error, ParamsError)


@pytest.mark.parametrize(
    "options", [("--smoothing", "1"), ("--smoothing", "1", "--temporal", "none"), ("--dwell", "1", "--temporal", "smooth")]
)
def test_an_option_of_another_temporal_model_is_refused(film: str, options: tuple[str, ...]) -> None:
    error = fer("video", film, "--out", "results", *options).exception
    assert isinstance(error, ParamsError)
    assert f"which only --temporal {'smooth' if '--smoothing' in options else 'hmm'} reads" in str(error)


def test_unreadable_videos_are_named_and_others_answered(film: str, tmp_path: Path, brightness_model: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    done = fer("video", "bad.mp4", film, "--out", "results", "--no-annotated", "--model", brightness_model)
    assert done.exit_code == 5
    assert "bad.mp4 is no video" in done.stderr
    assert "film.mp4: 20 frames" in done.stdout


def test_two_videos_of_one_name_are_refused(film: str, brightness_model: Path) -> None:
    error = fer("video", film, "other/film.mov", "--out", "results", "--model", brightness_model).exception
    assert isinstance(error, ParamsError)
    assert str(error).startswith("film.mp4 and other/film.mov would share the folder results/film")


def test_ctrl_c_keeps_what_is_done_so_far(
    film: str, tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from fer_pipeline.inference.stream import FaceStream

    real = FaceStream.update_many

    def interrupted(self: FaceStream, frames: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(self, frames)

    before = signal.getsignal(signal.SIGINT)
    with monkeypatch.context() as stopped:
        stopped.setattr(FaceStream, "update_many", interrupted)
        done = fer("video", film, "--out", "results", "--model", brightness_model)
    assert done.exit_code == 130
    assert "results up to 0.6 s, all files readable" in done.stderr
    folder = tmp_path / "results" / "film"
    assert len((folder / "faces.jsonl").read_text().splitlines()) == 16
    assert (folder / "report.html").is_file()
    assert signal.getsignal(signal.SIGINT) == before
    assert "20 frames, 20 faces" in fer("video", film, "--out", "results", "--model", brightness_model).stdout  # anew


def test_ctrl_c_leaves_the_finished_results_of_an_earlier_run(
    film: str, tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from fer_pipeline.inference.stream import FaceStream

    real = FaceStream.update_many

    def interrupted(self: FaceStream, frames: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(self, frames)

    fer("video", film, "--out", "results", "--model", brightness_model)
    folder = tmp_path / "results" / "film"
    before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    monkeypatch.setattr(FaceStream, "update_many", interrupted)
    done = fer("video", film, "--out", "results", "--temporal", "none", "--model", brightness_model)
    assert done.exit_code == 130
    assert "holds the finished results of an earlier run still; those of this one, up to 0.6 s, were dropped" in done.stderr
    assert {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()} == before


def test_results_made_by_python_get_their_table_and_page(film: str, tmp_path: Path, brightness_model: Path) -> None:
    fer("video", film, "--out", "results", "--model", brightness_model)
    for name in ("faces.parquet", "report.html"):
        (tmp_path / "results" / "film" / name).unlink()
    (tmp_path / "results" / "film" / ".new-999999999-x").mkdir()  # of a run that was killed
    assert "skipped" in fer("video", film, "--out", "results", "--model", brightness_model).stdout
    assert not list((tmp_path / "results" / "film").glob(".*"))
    assert (tmp_path / "results" / "film" / "faces.parquet").is_file()
    assert (tmp_path / "results" / "film" / "report.html").is_file()


def test_a_video_whose_run_was_killed_starts_anew(film: str, tmp_path: Path, brightness_model: Path) -> None:
    folder = tmp_path / "results" / "film"
    folder.mkdir(parents=True)
    (folder / "faces.jsonl").write_text('{"frame": 0, "ti')
    assert "20 frames, 20 faces" in fer("video", film, "--out", "results", "--model", brightness_model).stdout
    assert len((folder / "faces.jsonl").read_text().splitlines()) == 20


def test_a_neutral_face_is_taken_from_a_picture_or_the_track(film: str, face: str, brightness_model: Path) -> None:
    options = ("--no-annotated", "--model", brightness_model)
    given = fer("video", film, "--out", "given", "--neutral", face, *options)
    assert given.exit_code == 0, given.output
    assert "neutral face: face.png, read as " in given.stderr
    assert "note: read relative to the neutral face that was given" in given.stdout
    auto = fer("video", film, "--out", "auto", "--neutral", "auto", *options)
    assert "note: no neutral face could be estimated: nobody is seen for 10 s" in auto.stdout
    for wrong, words in (
        (("--neutral", "auto", "--neutral", face), "give auto alone"),
        (("--neutral-tau", "1"), "only --neutral"),
    ):
        error = fer("video", film, "--out", "wrong", *wrong, *options).exception
        assert isinstance(error, ParamsError)
        assert words in str(error)
