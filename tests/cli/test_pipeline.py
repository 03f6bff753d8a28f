from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from fer_pipeline.cli import pipeline
from fer_pipeline.cli.app import app
from fer_pipeline.promotion.decision import ALREADY_CHAMPION, Check, Decision
from fer_pipeline.promotion.summary import Summary

REFUSED = Check("size", False, "9 MB", "8 MB")
PASSED = Check("size", True, "7 MB", "8 MB")
KNOWN = Check(ALREADY_CHAMPION, True, "", "")


@pytest.mark.parametrize(
    ("check", "options", "code"),
    [
        (REFUSED, [], 0),
        (REFUSED, ["--require-promotion"], 1),
        (PASSED, ["--require-promotion"], 0),
        (KNOWN, ["--require-promotion"], 0),  # the champion stays, since it is this very model
    ],
)
def test_the_exit_code_tells_what_the_gate_said(
    check: Check, options: list[str], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = {f"{name}{end}": 0.5 for name in ("accuracy", "macro_f1") for end in ("", "_low", "_high")}
    summary = Summary(figures, Decision("fer version 2", None, (check,)), (), synthetic=False, bundle=None)
    monkeypatch.setattr(pipeline, "check_run", lambda *_: None)
    monkeypatch.setattr("flows.training.train_champion", lambda *_: summary)
    monkeypatch.setattr("flows.progress.show", lambda _: None)
    monkeypatch.setenv("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", *options])
    assert done.exit_code == code, done.output
    assert "Summary" in done.output


def test_without_the_pipeline_no_file_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where recognition alone is installed, the extra is what is missing, not params.yaml."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "find_spec", lambda name: None)
    error = CliRunner().invoke(app, ["run"]).exception
    assert isinstance(error, ModuleNotFoundError)
    assert error.name == "prefect"
