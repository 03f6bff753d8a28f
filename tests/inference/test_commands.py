from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner, Result

from fer_pipeline.cli.app import app
from fer_pipeline.errors import FerError, ModelError, ParamsError, ToolUnavailableError
from fer_pipeline.imaging import encode_png
from fer_pipeline.inference import pretrained
from fer_pipeline.inference.face_table import FACE_COLUMNS
from fer_pipeline.inference.pretrained import INDEX_FILE
from fer_pipeline.model_info import ModelInfo, file_sha256

UInt8Array = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working directory and a user's data folder with nothing in them, and a package that ships no model."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "user"))
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")


@pytest.fixture
def face(tmp_path: Path, drawn_face: UInt8Array) -> str:
    (tmp_path / "face.png").write_bytes(encode_png(drawn_face))
    return "face.png"


@pytest.fixture
def empty(tmp_path: Path) -> str:
    (tmp_path / "empty.png").write_bytes(encode_png(np.full((90, 120, 3), 128, np.uint8)))
    return "empty.png"


def fer(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_predict_names_the_emotion_of_each_face(face: str, empty: str, brightness_model: Path) -> None:
    done = fer("predict", face, empty, "--model", brightness_model)
    assert done.exit_code == 0, done.output
    assert "face.png: 1 face\n" in done.stdout
    assert "empty.png: no face found" in done.stdout


def test_predict_as_json_is_one_object_per_line(face: str, empty: str, brightness_model: Path) -> None:
    first, second = map(json.loads, fer("predict", face, empty, "--json", "--model", brightness_model).stdout.splitlines())
    assert first["file"] == "face.png"
    assert sum(first["faces"][0]["probabilities"].values()) == pytest.approx(1)
    assert second == {"file": "empty.png", "faces": []}


def test_predict_as_csv_is_one_row_per_face(face: str, empty: str, brightness_model: Path) -> None:
    (row,) = csv.DictReader(io.StringIO(fer("predict", face, empty, "--csv", "--model", brightness_model).stdout))
    assert list(row) == ["file", *FACE_COLUMNS]
    assert (row["file"], row["face"], row["rotation"]) == ("face.png", "1", "0")
    assert float(row["confidence"]) == max(float(row[name]) for name in ("happy", "sad", "surprise"))


def test_pictures_that_cannot_be_read_are_named_and_the_others_answered(
    face: str, tmp_path: Path, brightness_model: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    done = fer("predict", "bad.jpg", face, "missing.png", ".", "--json", "--model", brightness_model)
    assert done.exit_code == 5
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["face.png"]
    for name in (
        "bad.jpg: 10 bytes that are no",
        "missing.png: No such file",
        ".: a folder, expected a picture: give ./*.jpg",
        "3 of 4 pictures",
    ):
        assert name in done.stderr


def test_annotated_copies_go_to_a_folder(face: str, tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array) -> None:
    from fer_pipeline.imaging import decode

    fer("predict", face, "--annotate", "drawn", "--model", brightness_model)
    drawn = decode((tmp_path / "drawn" / "face.png.png").read_bytes())
    assert drawn.shape == drawn_face.shape
    assert (drawn != drawn_face).any()


def test_copies_that_would_overwrite_each_other_are_refused(face: str, tmp_path: Path, brightness_model: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(face, tmp_path / "other")
    error = fer("predict", face, "other/face.png", "--annotate", "drawn", "--model", brightness_model).exception
    assert isinstance(error, ParamsError)
    assert "face.png and other/face.png would both be drawn into drawn/face.png.png" in str(error)


def test_a_place_for_copies_that_is_no_folder_is_named(face: str, brightness_model: Path) -> None:
    error = fer("predict", face, "--annotate", face, "--model", brightness_model).exception
    assert isinstance(error, ParamsError)
    assert "--annotate is face.png" in str(error)


def test_two_forms_at_once_are_refused(face: str, brightness_model: Path) -> None:
    assert isinstance(fer("predict", face, "--json", "--csv", "--model", brightness_model).exception, ParamsError)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "no champion in data/bundle: train one with `fer run`"),
        ((), "no pretrained model is named 'fast' (there are: none)"),
        (("--model", "champion"), "params.yaml is missing"),
        (("--model", "fer/3"), "params.yaml is missing"),
        (
            ("--model", "elsewhere"),
            "named 'elsewhere' (there are: none), and there is no such folder",
        ),
        (("--model", "."), "no exported model in ."),
    ],
)
def test_a_missing_model_is_named_with_what_to_do(face: str, options: tuple[str, ...], reason: str) -> None:
    error = fer("predict", face, *options).exception
    assert isinstance(error, FerError)
    assert reason in str(error)


def ship(model: Path, weights: Path) -> None:
    shutil.copytree(model, weights / "fast")
    files = {file.name: file_sha256(file) for file in (weights / "fast").iterdir()}
    (weights / INDEX_FILE).write_text(json.dumps({"fast": {"files": files, "provenance": {}, "metrics": {}}}))


def test_the_champion_answers_where_there_is_one_and_else_the_shipped_model(
    face: str, tmp_path: Path, brightness_model: Path
) -> None:
    ship(brightness_model, tmp_path / "weights")
    by_default = fer("predict", face)
    assert by_default.exit_code == 0, by_default.output
    assert "model: fast, pretrained (brightness " in by_default.stderr
    assert "face.png: 1 face\n" in by_default.stdout
    shutil.copytree(brightness_model, tmp_path / "data" / "bundle")
    assert "model: the champion in data/bundle (brightness " in fer("predict", face).stderr
    assert "model: fast, pretrained" in fer("predict", face, "--model", "fast").stderr


def test_a_shipped_model_is_explained_by_its_name(face: str, tmp_path: Path, brightness_model: Path) -> None:
    ship(brightness_model, tmp_path / "weights")
    done = fer("explain", face, "--model", "fast", "--out", "why.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "why.png").exists()
    assert isinstance(fer("explain", face, "--model", "elsewhere", "--out", "why.png").exception, ModelError)


def test_explain_asks_the_model_that_predict_asks(face: str, tmp_path: Path, brightness_model: Path) -> None:
    assert isinstance(fer("explain", face, "--out", "why.png").exception, ModelError)
    ship(brightness_model, tmp_path / "weights")
    done = fer("explain", face, "--out", "why.png")
    assert done.exit_code == 0, done.output
    assert "model: fast, pretrained" in done.stderr
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert str(fer("explain", "bad.jpg", "--out", "why.png").exception).startswith("bad.jpg: 10 bytes")


def test_a_version_of_the_registry_is_downloaded_once(
    face: str, tmp_path: Path, brightness_model: Path, tracking_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fer_pipeline.experiments import registry, runs

    shutil.copy(Path(__file__).parents[2] / "params.yaml", tmp_path)
    info = ModelInfo.read(brightness_model)
    version, _ = registry.register(brightness_model, info, "fer", runs.ensure_run(None, "brightness", {}), {})
    registry.set_alias(version, registry.CHAMPION)
    for model in ("champion", "challenger", "fer/1"):
        done = fer("predict", face, "--model", model)
        assert done.exit_code == 0, done.output
        assert f"model: fer version 1 (brightness {info.fingerprint})" in done.stderr
        monkeypatch.setattr(registry, "download_export", lambda *_: pytest.fail("downloaded again"))
    assert "no version or alias '2'" in str(fer("predict", face, "--model", "fer/2").exception)


@pytest.mark.parametrize("place", ["given.onnx", "data/models/yunet.onnx", "user/fer-pipeline/face_detection_yunet_2023mar.onnx"])
def test_a_detector_that_is_not_the_published_one_is_refused(
    face: str, place: str, tmp_path: Path, brightness_model: Path
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"changed")
    option = ("--detector", place) if place == "given.onnx" else ()
    error = fer("predict", face, "--model", brightness_model, *option).exception
    assert isinstance(error, ModelError)
    assert place in str(error)


def test_only_what_is_known_can_be_fetched_and_a_failure_says_where_to_put_the_file(tmp_path: Path) -> None:
    assert isinstance(fer("models", "fetch", "haar").exception, ParamsError)
    error = fer("models", "fetch", "yunet", "--url", "http://127.0.0.1:9/x").exception
    assert isinstance(error, ToolUnavailableError)
    assert str(tmp_path / "user/fer-pipeline/face_detection_yunet_2023mar.onnx") in str(error)


@pytest.fixture
def film(tmp_path: Path, write_video: Any, drawn_face: UInt8Array) -> str:
    write_video(tmp_path / "film.mp4", [drawn_face] * 20)
    return "film.mp4"


def test_video_writes_all_files_and_is_skipped_the_second_time(film: str, tmp_path: Path, brightness_model: Path) -> None:
    done = fer("video", film, "--out", "results", "--model", brightness_model)
    assert done.exit_code == 0, done.output
    assert "film.mp4: 20 frames, 20 faces, 1 person; report: results/film/report.html" in done.stdout
    assert {file.name for file in (tmp_path / "results" / "film").iterdir()} == {
        "annotated.webm", "faces.csv", "faces.jsonl", "faces.parquet", "peaks", "report.html", "subtitles.vtt", "summary.json"
    }  # fmt: skip
    again = fer("video", film, "--out", "results", "--model", brightness_model)
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


def test_videos_that_cannot_be_read_are_named_and_the_others_answered(film: str, tmp_path: Path, brightness_model: Path) -> None:
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


def test_results_that_came_from_python_get_their_table_and_page(film: str, tmp_path: Path, brightness_model: Path) -> None:
    fer("video", film, "--out", "results", "--model", brightness_model)
    for name in ("faces.parquet", "report.html"):
        (tmp_path / "results" / "film" / name).unlink()
    (tmp_path / "results" / "film" / ".new-999999999-x").mkdir()  # of a run that was killed
    assert "skipped" in fer("video", film, "--out", "results", "--model", brightness_model).stdout
    assert not list((tmp_path / "results" / "film").glob(".*"))
    assert (tmp_path / "results" / "film" / "faces.parquet").is_file()
    assert (tmp_path / "results" / "film" / "report.html").is_file()


def test_a_video_whose_run_was_killed_is_begun_anew_over_what_it_left(film: str, tmp_path: Path, brightness_model: Path) -> None:
    folder = tmp_path / "results" / "film"
    folder.mkdir(parents=True)
    (folder / "faces.jsonl").write_text('{"frame": 0, "ti')
    assert "20 frames, 20 faces" in fer("video", film, "--out", "results", "--model", brightness_model).stdout
    assert len((folder / "faces.jsonl").read_text().splitlines()) == 20
