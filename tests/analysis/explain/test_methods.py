from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.analysis.explain.faithfulness import (
    BASELINES,
)
from fer_pipeline.analysis.explain.lime import lime_maps
from fer_pipeline.inference.saliency import occlusion_maps
from tests.analysis.explain.samples import HAPPY, MOUTH, by_mouth, noisy_faces


@pytest.mark.parametrize("explain", [lime_maps, occlusion_maps])
def test_a_map_is_highest_where_the_model_looks(explain: Callable[..., npt.NDArray[np.float64]]) -> None:
    maps = explain(noisy_faces(1).images[0], by_mouth)
    assert maps.shape == (7, 48, 48)
    inside = np.zeros((48, 48), bool)
    inside[MOUTH] = True
    assert maps[HAPPY][inside].mean() > 5 * np.abs(maps[HAPPY][~inside]).mean()
    assert maps[0][inside].mean() < 0  # what speaks for happy speaks against the rest


def test_occlusion_of_a_flat_face_changes_nothing() -> None:
    flat = np.full((48, 48, 1), 90, np.uint8)
    np.testing.assert_array_equal(occlusion_maps(flat, by_mouth), 0)


@pytest.fixture
def workspace(
    tmp_path: Path, make_processed: Callable[..., Path], brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    make_processed(tmp_path / "data" / "processed", {"test": 21})
    (tmp_path / "data" / "export").symlink_to(brightness_model)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_report_names_methods_that_cannot_be_measured(workspace: Path) -> None:
    """The report compares what can be measured, and names what cannot."""
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    done = CliRunner().invoke(app, ["explain-report", "--pictures", "7"])
    assert done.exit_code == 0, done.output
    assert "left out: gradcam" in done.output  # the test model is ONNX only
    out = workspace / "data" / "reports" / "explanation"
    values = json.loads((out / "metrics.json").read_text())
    assert list(values["methods"]) == ["lime", "occlusion", *BASELINES]
    assert "needs model.keras, which this model does not ship" in values["absent"]["gradcam"]
    assert "gradcam was not measured" in (out / "report.html").read_text()


def test_one_picture_is_explained_as_a_png(workspace: Path, drawn_face: npt.NDArray[np.uint8]) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    cv2.imwrite("face.png", drawn_face)
    cv2.imwrite("wall.png", np.full((200, 200), 90, np.uint8))
    done = CliRunner().invoke(app, ["explain", "face.png", "--method", "lime", "--out", "out/map.png"])
    assert done.exit_code == 0, done.output
    assert (workspace / "out" / "map.png").read_bytes().startswith(b"\x89PNG")
    for arguments, message in (
        (["wall.png"], "no face was found"),
        (["missing.png"], "missing.png: No such file"),
        (["face.png", "--method", "shap"], "expected one of lime"),
        (["face.png", "--method", "gradcam", "--model", "data/export"], "needs model.keras, which this model does not ship"),
    ):
        refused = CliRunner().invoke(app, ["explain", *arguments, "--out", "x.png"])
        assert message in str(refused.exception)
    assert not (workspace / "x.png").exists()
