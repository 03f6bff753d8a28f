from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fer_pipeline.analysis.robustness.corruptions import (
    CORRUPTIONS,
)
from fer_pipeline.analysis.robustness.measure import measure_robustness
from fer_pipeline.analysis.robustness.report import write_robustness
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.model_info import ModelInfo


def test_json_and_page_hold_every_curve(
    tmp_path: Path, make_stripes: Callable[[int, int], FaceDataset], brightness_model: Path
) -> None:
    faces = make_stripes(14, 0)
    result = measure_robustness(faces, lambda inputs: np.eye(7)[np.zeros(len(inputs), int)], resamples=20)
    info = ModelInfo.read(brightness_model)
    values = write_robustness(tmp_path / "out", result, faces, info)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == values
    assert values["accuracy"]["estimate"] == values["mean_corruption_accuracy"]["estimate"] == pytest.approx(1 / 7)
    assert all(len(curve["accuracy"]) == 5 for curve in values["corruptions"].values())
    page = (tmp_path / "out" / "report.html").read_text()
    assert all(corruption.name in page for corruption in CORRUPTIONS)
    assert "synthetic" not in page
