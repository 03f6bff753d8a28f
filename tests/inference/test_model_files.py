from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.model_info import CARD_FILE, MODEL_FILE


def test_a_portable_model_gives_the_answers_of_its_folder(brightness_model: Path, drawn_face: UInt8Array) -> None:
    portable = PortableModel.read(brightness_model)
    assert portable.recognizer().recognize(drawn_face) == Recognizer.load(brightness_model).recognize(drawn_face)
    assert portable.recognizer(threshold=0.9).threshold == 0.9


def test_later_changes_of_the_folder_have_no_effect(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    content = (folder / MODEL_FILE).read_bytes()
    portable = PortableModel.read(folder)
    (folder / MODEL_FILE).write_bytes(b"changed")
    (tmp_path / "copy").mkdir()
    portable.write(tmp_path / "copy")
    assert (tmp_path / "copy" / MODEL_FILE).read_bytes() == content


def test_a_given_detector_takes_the_place_of_that_of_the_folder(
    brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    (folder / YUNET_FILE).write_bytes(b"of the folder")
    (tmp_path / "other.onnx").write_bytes(b"given")
    monkeypatch.setattr("fer_pipeline.inference.detection.selection.published_yunet", lambda file: None)
    by_name, by_file = PortableModel.read(folder, "yunet"), PortableModel.read(folder, str(tmp_path / "other.onnx"))
    assert (by_name.detector, dict(by_name.files)[YUNET_FILE]) == ("yunet", b"of the folder")
    assert (by_file.detector, dict(by_file.files)[YUNET_FILE]) == ("yunet", b"given")
    assert PortableModel.read(folder).detector == "centerface"
    assert PortableModel.read(folder, "haar").recognizer().detector.name == "haar"


def test_the_card_is_read_where_there_is_one(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    (folder / CARD_FILE).unlink(missing_ok=True)
    assert PortableModel.read(folder).card is None
    (folder / CARD_FILE).write_text("<h1>card</h1>")
    assert PortableModel.read(folder).card == "<h1>card</h1>"


def test_a_folder_without_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no exported model"):
        PortableModel.read(tmp_path)
