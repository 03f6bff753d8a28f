from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from fer_pipeline.labels import (
    JAFFE_CODES,
)
from tests.analysis.external.samples import save


def test_the_command_measures_an_exported_model(tmp_path: Path, brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    for code, emotion in JAFFE_CODES.items():
        save(tmp_path / "jaffe" / f"KA.{code}1.1.tiff", emotion)
    monkeypatch.chdir(tmp_path)
    arguments = ["evaluate-dataset", "jaffe", "--labels", "jaffe", "--model", str(brightness_model), "--faces", "crop"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "accuracy 1.0000" in done.output
    assert (tmp_path / "data" / "reports" / "external" / "jaffe" / "report.html").is_file()


def test_the_command_finds_the_face_in_pictures_of_whole_scenes(
    tmp_path: Path, brightness_model: Path, drawn_face: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    (tmp_path / "jaffe").mkdir()
    Image.fromarray(drawn_face).save(tmp_path / "jaffe" / "KA.HA1.1.tiff")
    Image.new("L", (256, 256), 100).save(tmp_path / "jaffe" / "KA.SA1.2.tiff")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(
        app, ["evaluate-dataset", "jaffe", "--labels", "jaffe", "--model", str(brightness_model), "--out", "out"]
    )
    assert done.exit_code == 0, done.output
    assert "1 pictures that have no face that was found" in done.output
    values = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (values["detector"], values["rows"], values["rows_without_face"]) == ("centerface", 1, 1)
