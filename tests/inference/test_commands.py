from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from typer.testing import CliRunner, Result

from fer_pipeline.cli.app import app
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.imaging import encode_png

UInt8Array = npt.NDArray[np.uint8]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


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
    assert (row["file"], row["face"], row["rotation"]) == ("face.png", "1", "0")
    assert float(row["confidence"]) == max(float(row[name]) for name in ("happy", "sad", "surprise"))


def test_pictures_that_cannot_be_read_are_named_and_the_others_answered(
    face: str, tmp_path: Path, brightness_model: Path
) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    done = fer("predict", "bad.jpg", face, "missing.png", ".", "--json", "--model", brightness_model)
    assert done.exit_code == 5
    assert [json.loads(line)["file"] for line in done.stdout.splitlines()] == ["face.png"]
    for name in ("bad.jpg: 10 bytes that are no", "missing.png: No such file", ".: Is a directory", "3 of 4 pictures"):
        assert name in done.stderr


def test_annotated_copies_go_to_a_folder(face: str, tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array) -> None:
    from fer_pipeline.imaging import decode

    fer("predict", face, "--annotate", "drawn", "--model", brightness_model)
    drawn = decode((tmp_path / "drawn" / "face.png.png").read_bytes())
    assert drawn.shape == drawn_face.shape
    assert (drawn != drawn_face).any()


def test_two_forms_at_once_are_refused(face: str, brightness_model: Path) -> None:
    assert isinstance(fer("predict", face, "--json", "--csv", "--model", brightness_model).exception, ParamsError)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "no champion in data/bundle: train one with `fer run`"),
        (("--model", "elsewhere"), "no folder elsewhere"),
        (("--model", "."), "no exported model in ."),
    ],
)
def test_a_missing_model_is_named_with_what_to_do(face: str, options: tuple[str, ...], reason: str) -> None:
    error = fer("predict", face, *options).exception
    assert isinstance(error, ModelError)
    assert reason in str(error)


@pytest.mark.parametrize("place", ["given.onnx", "data/models/yunet.onnx"])
def test_a_detector_that_is_not_the_published_one_is_refused(
    face: str, place: str, tmp_path: Path, brightness_model: Path
) -> None:
    (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / place).write_bytes(b"changed")
    option = ("--detector", place) if place == "given.onnx" else ()
    error = fer("predict", face, "--model", brightness_model, *option).exception
    assert isinstance(error, ModelError)
    assert place in str(error)


@pytest.fixture
def film(tmp_path: Path, write_video: Any, drawn_face: UInt8Array) -> str:
    write_video(tmp_path / "film.mp4", [drawn_face] * 20)
    return "film.mp4"


def test_video_writes_all_files_and_is_skipped_the_second_time(film: str, tmp_path: Path, brightness_model: Path) -> None:
    done = fer("video", film, "--out", "results", "--model", brightness_model)
    assert done.exit_code == 0, done.output
    assert "film.mp4: 20 frames, 20 faces, 1 person; report: results/film/report.html" in done.stdout
    assert {file.name for file in (tmp_path / "results" / "film").iterdir()} == {
        "annotated.webm", "faces.csv", "faces.jsonl", "peaks", "report.html", "subtitles.vtt", "summary.json"
    }  # fmt: skip
    again = fer("video", film, "--out", "results", "--model", brightness_model)
    assert "finished before, skipped" in again.stdout


def test_videos_that_cannot_be_read_are_named_and_the_others_answered(film: str, tmp_path: Path, brightness_model: Path) -> None:
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    done = fer("video", "bad.mp4", film, "--out", "results", "--no-annotated", "--model", brightness_model)
    assert done.exit_code == 5
    assert "bad.mp4 is no video" in done.stderr
    assert "film.mp4: 20 frames" in done.stdout


def test_two_videos_of_one_name_are_refused(film: str, brightness_model: Path) -> None:
    error = fer("video", film, "other/film.mov", "--out", "results", "--model", brightness_model).exception
    assert isinstance(error, ParamsError)


def test_ctrl_c_keeps_what_is_done_so_far(
    film: str, tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import signal

    from fer_pipeline.inference.stream import FaceStream

    real = FaceStream.update_many

    def interrupted(self: FaceStream, frames: Any) -> Any:
        signal.raise_signal(signal.SIGINT)
        return real(self, frames)

    monkeypatch.setattr(FaceStream, "update_many", interrupted)
    before = signal.getsignal(signal.SIGINT)
    done = fer("video", film, "--out", "results", "--model", brightness_model)
    assert done.exit_code == 130
    assert "results up to 0.6 s, all files readable" in done.stderr
    assert len((tmp_path / "results" / "film" / "faces.jsonl").read_text().splitlines()) == 16
    assert signal.getsignal(signal.SIGINT) == before
