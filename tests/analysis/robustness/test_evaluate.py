from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_the_command_writes_the_report(
    tmp_path: Path, make_processed: Callable[..., Path], brightness_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    make_processed(tmp_path / "data" / "processed", {"test": 14})
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["robustness", "--model", str(brightness_model)])
    assert done.exit_code == 0, done.output
    assert "on 14 test pictures" in done.output
    assert (tmp_path / "data" / "reports" / "robustness" / "report.html").is_file()
    facts = json.loads((tmp_path / "data" / "processed" / "facts.json").read_text())
    facts["image_spec"]["contrast"] = "clahe"
    (tmp_path / "data" / "processed" / "facts.json").write_text(json.dumps(facts))
    refused = CliRunner().invoke(app, ["robustness", "--model", str(brightness_model)])
    assert "preprocess again with the values of the model" in str(refused.exception)
