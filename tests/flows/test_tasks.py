"""Tasks of the flows, called without Prefect's server."""

from __future__ import annotations

import logging
import os
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from fer_pipeline.errors import FerError, SourceError
from fer_pipeline.experiments.tracking.context import FLOW_RUN_VARIABLE
from fer_pipeline.workspace import dvc
from flows import progress, run_variable, tasks


@pytest.fixture(autouse=True)
def run_logger(monkeypatch: pytest.MonkeyPatch) -> logging.Logger:
    """The logger of the run: one that has no server behind it."""
    logger = logging.getLogger("of_the_run")
    monkeypatch.setattr(tasks, "get_run_logger", lambda: logger)
    return logger


def test_what_a_stage_prints_reaches_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lines of child processes, too, each with its level; the terminal shows them where the steps of the run are shown."""

    def prints(*_: object) -> dvc.Outcome:
        subprocess.run(["printf", "epoch 1/2\nwarning: 3 rows\n\nerror: \\377\nno end"], check=True)
        return dvc.Outcome.RAN

    monkeypatch.setattr(dvc, "reproduce", prints)
    caplog.set_level(logging.INFO, logger="of_the_run")
    wanted = [("INFO", "epoch 1/2"), ("WARNING", "warning: 3 rows"), ("ERROR", "error: \ufffd"), ("INFO", "no end")]
    assert tasks.run_stage.fn(tmp_path, "train").is_completed()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == wanted
    assert capfd.readouterr().out == ""
    monkeypatch.setattr(progress, "_console", Console())
    tasks.run_stage.fn(tmp_path, "train")
    assert caplog.messages == 2 * [text for _, text in wanted]
    assert capfd.readouterr().out.splitlines() == ["epoch 1/2", "warning: 3 rows", "", "error: \ufffd", "no end"]


def test_a_failed_stage_logs_no_expected_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A stage that fails has one sentence in the log; the trace of an error that was raised stays."""

    def fails(*_: object) -> bool:
        raise FerError("stage fetch: no such source")

    monkeypatch.setattr(dvc, "reproduce", fails)
    state = tasks.run_stage.fn(tmp_path, "fetch")
    assert (state.is_failed(), state.message) == (True, "stage fetch: no such source")
    log = logging.getLogger("prefect.task_runs")
    monkeypatch.setenv("PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW", "ignore")
    log.addHandler(caplog.handler)  # Prefect's loggers do not propagate
    try:
        log.error("Task run failed with state: %s", state, exc_info=True)
        for error in (SourceError("no such file"), ZeroDivisionError("by zero")):
            log.error("failed of %s", type(error).__name__, exc_info=error)
            log.error("unexpected exception: %s", error, exc_info=error)
    finally:
        log.removeHandler(caplog.handler)
    assert "NoneType: None" not in caplog.text
    assert "failed of SourceError" in caplog.text
    assert "SourceError: no such file" not in caplog.text
    assert "unexpected exception: no such file" not in caplog.text
    assert "unexpected exception: by zero" in caplog.text
    assert "ZeroDivisionError: by zero" in caplog.text


def test_a_stage_logs_the_trace_of_what_no_code_expects(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The notes of the stage's error are the stack trace; they reach the logger of the run."""

    def fails(*_: object) -> bool:
        error = FerError("stage train: unexpected: KeyError: 'width'")
        error.add_note("Traceback: in my_network")
        raise error

    monkeypatch.setattr(dvc, "reproduce", fails)
    assert tasks.run_stage.fn(tmp_path, "train").is_failed()
    assert [(record.name, record.getMessage()) for record in caplog.records] == [("of_the_run", "Traceback: in my_network")]


@pytest.mark.parametrize(("outcome", "name"), [("RAN", "Completed"), ("RESTORED", "Cached"), ("UNCHANGED", "Cached")])
def test_a_stage_that_did_not_run_is_cached(outcome: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dvc, "reproduce", lambda *_: dvc.Outcome[outcome])
    state = tasks.run_stage.fn(tmp_path, "train")
    assert (state.name, state.message) == (name, dvc.Outcome[outcome].value)


def test_a_stage_knows_its_flow_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def reproduce(*_: object) -> dvc.Outcome:
        seen.append(os.environ.get(FLOW_RUN_VARIABLE))
        return dvc.Outcome.RAN

    monkeypatch.setattr(dvc, "reproduce", reproduce)
    tasks.run_stage.fn(tmp_path, "train")
    monkeypatch.setattr(run_variable, "flow_run", SimpleNamespace(id="12ab"))
    tasks.run_stage.fn(tmp_path, "train")
    assert seen == [None, "12ab"]
    assert FLOW_RUN_VARIABLE not in os.environ
