from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import DETECTORS
from fer_pipeline.inference.detection.centerface import CenterFaceDetector
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.detection.selection import ORIGINS, find_detector, select_detector
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.workspace.layout import YUNET


@pytest.fixture
def no_yunet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "no-data"))
    monkeypatch.chdir(tmp_path)


def publish(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `content` be the published YuNet, without a network in it."""
    monkeypatch.setattr("fer_pipeline.inference.detection.yunet.YUNET_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr("fer_pipeline.inference.detection.yunet.YuNetDetector", lambda file: file)


def test_each_name_selects_its_detector(brightness_model: Path) -> None:
    assert isinstance(select_detector("centerface", brightness_model), CenterFaceDetector)
    assert isinstance(select_detector("haar", brightness_model), HaarDetector)
    assert set(ORIGINS) == set(DETECTORS)


def test_a_damaged_yunet_is_not_replaced_by_another(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    (folder / YUNET_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not a YuNet network"):
        select_detector("yunet", folder)


@pytest.mark.usefixtures("no_yunet")
def test_yunet_is_asked_for_by_its_remedy(brightness_model: Path) -> None:
    with pytest.raises(ModelError, match="`fer models fetch yunet`"):
        select_detector("yunet", brightness_model)


@pytest.mark.usefixtures("no_yunet")
def test_yunet_is_looked_for_from_the_model_outwards(
    brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(b"published", monkeypatch)
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    (tmp_path / YUNET).parent.mkdir(parents=True)
    (tmp_path / YUNET).write_bytes(b"published")
    assert find_detector("yunet", folder) == ("yunet", YUNET)
    (folder / YUNET_FILE).write_bytes(b"of the model")
    assert find_detector("yunet", folder) == ("yunet", folder / YUNET_FILE)
    (tmp_path / "given.onnx").write_bytes(b"published")
    assert find_detector(str(tmp_path / "given.onnx"), folder) == ("yunet", tmp_path / "given.onnx")
    (tmp_path / "given.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="SHA-256"):
        find_detector(str(tmp_path / "given.onnx"), folder)


def test_a_word_that_is_no_detector_names_those_there_are(brightness_model: Path) -> None:
    with pytest.raises(ModelError, match=r"'centreface', .* expected centerface, yunet, haar, or the path"):
        select_detector("centreface", brightness_model)
