from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fer_pipeline.model_info import ModelInfo
from tests.fixtures.commands import fer, publish

SERVICE = "fer_pipeline.serving.service:Fer"

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The command lines that `fer serve` has become."""
    for name in ("FER_MODEL_DIR", "FER_FOLLOW_DIR", "FER_RELOAD_SECONDS"):
        monkeypatch.setenv(name, "to be restored")
        monkeypatch.delenv(name)
    monkeypatch.setenv("BENTOML_HOME", str(tmp_path / "bentoml"))
    lines: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _, words: lines.append(words))
    return lines


@pytest.mark.parametrize("champion", ["none", "drawn"])
def test_without_a_champion_of_real_faces_fast_is_served(
    champion: str, became: list[list[str]], tmp_path: Path, brightness_model: Path
) -> None:
    publish(brightness_model, tmp_path / "weights")
    if champion == "drawn":
        bundle = tmp_path / "data" / "bundle"
        shutil.copytree(brightness_model, bundle)
        replace(ModelInfo.read(bundle), synthetic=True).write(bundle)
    done = fer("serve", "--port", "3999")
    assert done.exit_code == 0, done.output
    assert "serving fast, pretrained on http://127.0.0.1:3999" in done.stdout
    assert ("--model champion" in done.stderr) == (champion == "drawn")
    assert became[0][1:3] == ["serve", SERVICE]
    assert os.environ["FER_MODEL_DIR"] == str(tmp_path / "weights" / "fast")
    assert os.environ["FER_FOLLOW_DIR"] == str(tmp_path / "data" / "bundle")  # a champion of `fer run` takes over
    assert os.environ["FER_RELOAD_SECONDS"] == "5.0"


@pytest.mark.parametrize("model", ["fast", "folder"])
def test_a_named_model_is_served_and_stays(model: str, became: list[list[str]], tmp_path: Path, brightness_model: Path) -> None:
    publish(brightness_model, tmp_path / "weights")
    shutil.copytree(brightness_model, tmp_path / "folder")
    shutil.copytree(brightness_model, tmp_path / "data" / "bundle")
    done = fer("serve", "--model", model, "--port", "3999")
    assert done.exit_code == 0, done.output
    assert f"serving {model} on http://127.0.0.1:3999" in done.stdout
    assert became[0][1:3] == ["serve", SERVICE]
    assert Path(os.environ["FER_MODEL_DIR"]).name == model
    assert "FER_RELOAD_SECONDS" not in os.environ
