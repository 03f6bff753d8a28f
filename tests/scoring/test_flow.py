from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fer_pipeline.imaging import UInt8Array, encode_png
from tests.scoring.conftest import WHERE

pytestmark = pytest.mark.usefixtures("spark")


def test_the_flow_scores_with_the_bundle_or_fails(
    tmp_path: Path, brightness_model: Path, drawn_face: UInt8Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flow scores with the bundle of the workspace and fails with the message."""
    from flows import scoring as flow

    told: list[str] = []
    monkeypatch.setattr(flow, "publish", lambda _key, text, _: told.append(text))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.png").write_bytes(encode_png(drawn_face))
    missing = flow.score_pictures.fn("set", "out", master=WHERE)
    assert "no exported model" in missing.message
    shutil.copytree(brightness_model, tmp_path / "data" / "bundle")
    facts = flow.score_pictures.fn("set", "out", master=WHERE)
    assert (facts.pictures, facts.faces) == (1, 1)
    assert "1 picture, 1 face" in told[0]
