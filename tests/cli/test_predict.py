from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.inference.pictures.face_table import PICTURE_COLUMNS
from fer_pipeline.labels import EMOTIONS
from tests.fixtures.commands import fer

UInt8Array = npt.NDArray[np.uint8]

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_predict_names_the_emotion_of_each_face(face: str, empty: str, brightness_model: Path) -> None:
    done = fer("predict", face, empty, "--model", brightness_model)
    assert done.exit_code == 0, done.output
    assert "face.png: 1 face\n" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("  1  ")]
    assert not [name for name in EMOTIONS if line.count(name) > 1]  # each thing once
    assert " 0 %" not in line
    assert "empty.png: no face found" in done.stdout


def test_predict_as_json_is_one_object_per_line(face: str, empty: str, brightness_model: Path) -> None:
    first, second = map(json.loads, fer("predict", face, empty, "--json", "--model", brightness_model).stdout.splitlines())
    assert first["file"] == "face.png"
    assert sum(first["faces"][0]["probabilities"].values()) == pytest.approx(1, abs=0.0004)
    assert (second["file"], second["picture"], second["faces"]) == ("empty.png", {"width": 120, "height": 90}, [])


def test_predict_as_csv_is_one_row_per_face(face: str, empty: str, brightness_model: Path) -> None:
    row, none = csv.DictReader(io.StringIO(fer("predict", face, empty, "--csv", "--model", brightness_model).stdout))
    assert tuple(row) == PICTURE_COLUMNS
    assert (none["file"], none["faces"], none["emotion"]) == ("empty.png", "0", "")
    assert (row["file"], row["face"], row["rotation"]) == ("face.png", "1", "0")
    assert float(row["confidence"]) == max(float(row[name]) for name in ("happy", "sad", "surprise"))


def test_unreadable_pictures_are_named_and_others_answered(face: str, tmp_path: Path, brightness_model: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    (tmp_path / "hollow").mkdir()
    done = fer("predict", "bad.jpg", face, "missing.png", "hollow", "--json", "--model", brightness_model)
    assert done.exit_code == 5
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [values["file"] for values in found] == ["bad.jpg", "face.png", "missing.png", "hollow"]
    assert [values["error"] is None for values in found] == [False, True, False, False]
    assert (found[2]["error"]["message"], found[2]["picture"]) == ("No such file or directory", None)
    for name in (
        "bad.jpg: 10 bytes that are no",
        "missing.png: No such file",
        "hollow: holds no picture (.jpg,",
        "3 of 4 pictures",
    ):
        assert name in done.stderr


@pytest.mark.parametrize("command", [("predict",), ("video", "--out", "results")])
def test_a_file_without_permission_ends_no_command(
    command: tuple[str, ...], face: str, brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parser of the arguments does not refuse the others; the file is tried, and named where it cannot be read."""
    monkeypatch.setattr(os, "access", lambda path, *_, **__: not str(path).endswith("secret.jpg"))
    real = Path.open

    def refuse(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "secret.jpg":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", refuse)
    Path("secret.jpg").touch()
    done = fer(*command, "secret.jpg", face, "--model", brightness_model)
    assert done.exit_code == 5
    assert "Permission denied" in done.stderr
    assert "face.png" in done.output


@pytest.mark.attack
def test_a_pipe_is_passed_over(face: str, tmp_path: Path, brightness_model: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    done = fer("predict", "pipe.jpg", face, "--json", "--model", brightness_model)
    assert (done.exit_code, len(done.stdout.splitlines())) == (5, 2)
    assert "pipe.jpg: a pipe, expected a picture" in done.stderr


def test_stretched_values_are_told(tmp_path: Path, brightness_model: Path) -> None:
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), np.full((48, 48), 700, np.uint16))
    done = fer("predict", "deep.png", "--model", brightness_model)
    assert done.exit_code == 0
    assert "deep.png: 16-bit picture uses the lower 10 bits only" in done.stderr


def test_annotated_copies_go_to_a_folder(face: str, tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array) -> None:
    from fer_pipeline.imaging import decode

    fer("predict", face, "--annotate", "drawn", "--model", brightness_model)
    drawn = decode((tmp_path / "drawn" / "face.png.png").read_bytes())
    assert drawn.shape == drawn_face.shape
    assert (drawn != drawn_face).any()


def test_names_too_long_for_an_ending_are_shortened(face: str, tmp_path: Path, brightness_model: Path) -> None:
    """A name may have 255 bytes: of two that begin alike, each has a copy of its own; umlauts are not cut in two."""
    names = [f"{'ä' * 125}{letter}.png" for letter in "ab"]
    for name in names:
        shutil.copy(face, tmp_path / name)
    done = fer("predict", *names, "--annotate", "drawn", "--model", brightness_model)
    assert done.exit_code == 0, done.output
    copies = sorted(file.name for file in (tmp_path / "drawn").iterdir())
    assert len(copies) == 2
    assert all(re.fullmatch("ä+-[0-9a-f]{8}[.]png", name) for name in copies)


def test_copies_that_would_overwrite_each_other_are_refused(face: str, tmp_path: Path, brightness_model: Path) -> None:
    (tmp_path / "other").mkdir()
    shutil.copy(face, tmp_path / "other")
    error = fer("predict", face, "other/face.png", "--annotate", "drawn", "--model", brightness_model).exception
    assert isinstance(error, ParamsError)
    assert "face.png and other/face.png would both be drawn into drawn/face.png.png" in str(error)


def test_folders_are_searched_and_their_copies_lie_as_in_them(face: str, tmp_path: Path, brightness_model: Path) -> None:
    for place in ("album/one", "album/two"):
        (tmp_path / place).mkdir(parents=True)
        shutil.copy(face, tmp_path / place)
    (tmp_path / "album" / "notes.txt").touch()
    (tmp_path / "album" / "bad.JPG").touch()
    done = fer("predict", "album", face, "--json", "--annotate", "drawn", "--model", brightness_model)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [values["file"] for values in found] == ["album/bad.JPG", "album/one/face.png", "album/two/face.png", "face.png"]
    assert "1 of 4 pictures could not be read" in done.stderr
    copies = sorted(file.relative_to(tmp_path / "drawn").as_posix() for file in (tmp_path / "drawn").rglob("*.png"))
    assert copies == ["face.png.png", "one/face.png.png", "two/face.png.png"]


def test_a_path_for_copies_that_is_no_folder_is_named(face: str, brightness_model: Path) -> None:
    error = fer("predict", face, "--annotate", face, "--model", brightness_model).exception
    assert isinstance(error, ParamsError)
    assert "--annotate is face.png" in str(error)


def test_a_neutral_picture_changes_answers_and_is_named(face: str, brightness_model: Path) -> None:
    """The face relative to itself is neutral, also where that is below the threshold; without the option it is not."""
    options = ("--model", brightness_model, "--neutral", face)
    done = fer("predict", face, *options)
    assert "face.png: 1 face, relative to the neutral face\n" in done.stdout
    assert "  1  neutral 26 %" in done.stdout
    assert "neutral face: face.png, read as " in done.stderr
    (row,) = csv.DictReader(io.StringIO(fer("predict", face, *options, "--csv", "--neutral-tau", "6").stdout))
    assert (row["emotion"], row["neutral_reference"]) == ("neutral", "given")
    assert float(row["confidence"]) == pytest.approx(np.exp(6) / (6 + np.exp(6)), abs=1e-4)
    (plain,) = csv.DictReader(io.StringIO(fer("predict", face, "--csv", "--model", brightness_model).stdout))
    assert (plain["top_emotion"] == "neutral", plain["neutral_reference"]) == (False, "")


def test_several_faces_and_odd_references_are_told(face: str, empty: str, brightness_model: Path, drawn_face: UInt8Array) -> None:
    from fer_pipeline.imaging import encode_png

    Path("two.png").write_bytes(encode_png(np.hstack([drawn_face, drawn_face])))
    done = fer("predict", "two.png", "--neutral", face, "--model", brightness_model)
    assert "two.png: 2 faces, each read relative to the neutral face, which is of one person" in done.stderr
    assert "note: it hardly reads as neutral" in done.stderr  # the model of brightness says happy
    for reference, words in (
        (empty, "empty.png: no face found"),
        ("two.png", "two.png: 2 faces found"),
        ("gone.png", "No such file"),
    ):
        error = fer("predict", face, "--neutral", reference, "--model", brightness_model).exception
        assert isinstance(error, ImageError)
        assert words in str(error)
    alone = fer("predict", face, "--neutral-tau", "0.5", "--model", brightness_model).exception
    assert isinstance(alone, ParamsError)


def test_two_forms_at_once_are_refused(face: str, brightness_model: Path) -> None:
    assert isinstance(fer("predict", face, "--json", "--csv", "--model", brightness_model).exception, ParamsError)


NAMES = ("=HYPERLINK(1).png", "-1+1.png", "a;=1.png", "\x1b[2J\u202e.png")


@pytest.mark.attack
def test_names_are_neither_formulas_nor_escape_sequences(face: str, tmp_path: Path, brightness_model: Path) -> None:
    for name in NAMES:
        shutil.copy(tmp_path / face, tmp_path / name)
    (tmp_path / "\x1b]0;owned\x07.png").touch()  # no picture
    files = ["--csv", "--model", brightness_model, "--", *NAMES, "\x1b]0;owned\x07.png"]
    done = fer("predict", *files)
    rows = [*csv.DictReader(io.StringIO(done.stdout))]
    names = ["'=HYPERLINK(1).png", "'-1+1.png", "a;=1.png", r"\x1b[2J\u202e.png", r"\x1b]0;owned\x07.png"]
    assert [row["file"] for row in rows] == names
    cells = [one for row in csv.reader(io.StringIO(done.stdout), delimiter=";") for one in row]
    assert not [one for one in cells if one.startswith(("=", "+", "-", "@"))]
    for output in (done.stdout, done.stderr, fer("predict", *files[1:]).output):
        assert output.replace("\n", "").replace("\r", "").isprintable()
    assert r"error: \x1b]0;owned" in done.stderr
