from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ModelError
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
