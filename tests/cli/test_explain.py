from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ImageError, ModelError, ParamsError
from fer_pipeline.imaging import encode_png
from tests.fixtures.commands import fer, publish

UInt8Array = npt.NDArray[np.uint8]

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_pretrained_model_is_explained_by_its_name(face: str, tmp_path: Path, brightness_model: Path) -> None:
    publish(brightness_model, tmp_path / "weights")
    done = fer("explain", face, "--model", "fast", "--out", "why.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path / "why.png").exists()
    assert isinstance(fer("explain", face, "--model", "elsewhere", "--out", "why.png").exception, ModelError)


def test_explain_uses_the_model_that_predict_uses(face: str, tmp_path: Path, brightness_model: Path) -> None:
    assert isinstance(fer("explain", face, "--out", "why.png").exception, ModelError)
    publish(brightness_model, tmp_path / "weights")
    done = fer("explain", face, "--out", "why.png")
    assert done.exit_code == 0, done.output
    assert "model: fast, pretrained" in done.stderr
    (tmp_path / "bad.jpg").write_bytes(b"no picture")
    assert str(fer("explain", "bad.jpg", "--out", "why.png").exception).startswith("bad.jpg: 10 bytes")


def test_any_face_of_a_picture_can_be_explained(tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array) -> None:
    """Faces are numbered as by `fer predict`; the second one is darker, and so of another emotion."""
    (tmp_path / "two.png").write_bytes(encode_png(np.hstack([drawn_face, drawn_face[:, 100:540] // 2])))
    lines = fer("predict", "two.png", "--model", brightness_model).stdout.splitlines()[1:]
    explained = [fer("explain", "two.png", "--face", str(n), "--out", f"{n}.png", "--model", brightness_model) for n in (1, 2)]
    told = [line.split()[1] for line in lines]
    assert [done.stdout.split()[0] for done in explained] == told
    assert len(set(told)) == 2
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "2.png").read_bytes()
    missing = fer("explain", "two.png", "--face", "3", "--out", "3.png", "--model", brightness_model).exception
    assert isinstance(missing, ImageError)
    assert "--face is 3, two.png has 2" in str(missing)
    cut = fer("explain", "two.png", "--face", "2", "--faces", "crop", "--out", "3.png", "--model", brightness_model).exception
    assert isinstance(cut, ParamsError)


def test_explain_finds_faces_with_the_detector_of_predict(face: str, brightness_model: Path) -> None:
    """Else the numbers of `fer predict --detector haar` would be of other faces."""
    refused = fer("explain", face, "--detector", "yolo", "--out", "why.png", "--model", brightness_model).exception
    assert isinstance(refused, ModelError)
    assert "no face detector is named 'yolo'" in str(refused)
    assert fer("explain", face, "--detector", "haar", "--out", "why.png", "--model", brightness_model).exit_code == 0
