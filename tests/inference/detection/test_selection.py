from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.detection.yunet import YUNET_FILE


def test_haar_is_selected_without_a_yunet_file(brightness_model: Path) -> None:
    assert isinstance(select_detector(brightness_model), HaarDetector)


def test_a_damaged_yunet_file_is_not_replaced_by_haar(brightness_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(brightness_model, tmp_path / "model")
    (folder / YUNET_FILE).write_bytes(b"damaged")
    with pytest.raises(ModelError, match="is not a YuNet network"):
        select_detector(folder)
