from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_pipeline.data.table.training_images import image_hashes, write_training_images
from tests.monitoring.drift_workspace import ROOT, TRAINED, write_processed


@pytest.fixture
def workspace(brightness_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy2(ROOT / name, tmp_path)
    write_training_images(Path(shutil.copytree(brightness_model, tmp_path / "data" / "bundle")), image_hashes(TRAINED))
    write_processed(tmp_path / "data" / "processed")
    monkeypatch.chdir(tmp_path)
    return tmp_path
