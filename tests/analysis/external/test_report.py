from __future__ import annotations

import json
from pathlib import Path

import pytest

from fer_pipeline.analysis.external.report import write_external
from fer_pipeline.model_info import ModelInfo
from tests.analysis.external.samples import measured, save


def test_json_and_page_say_what_was_left_out(tmp_path: Path, brightness_model: Path) -> None:
    for folder in ("contempt", "happy", "surprise"):
        save(tmp_path / "set" / folder / "1.png", folder)
    info = ModelInfo.read(brightness_model)
    values = write_external(tmp_path / "out", measured(tmp_path / "set", "ckplus"), info)
    assert json.loads((tmp_path / "out" / "metrics.json").read_text()) == values
    assert values["accuracy"] == {"estimate": 1.0, "low": pytest.approx(0.342, abs=0.001), "high": 1.0}  # Wilson, 2 of 2
    assert (values["rows"], values["left_out"], values["model"]) == (2, {"contempt": 1}, info.fingerprint)
    page = (tmp_path / "out" / "report.html").read_text()
    assert "contempt (1 pictures)" in page
    assert "They are in no average" in page
    assert "angry, disgust, fear, sad, neutral" in page
    assert "http" not in page.replace("http://www.w3.org", "")
