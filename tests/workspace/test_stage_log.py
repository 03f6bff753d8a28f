from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_pipeline.workspace import stage_log
from fer_pipeline.workspace.layout import DVC_STAGES
from fer_pipeline.workspace.stage_log import captured_output, divert_stderr, forwarded_output, log_file

SCRIPT = """
import os, subprocess, sys
from fer_pipeline.workspace.stage_log import divert_stderr
log = divert_stderr("train")
os.write(2, b"of native code\\n")
subprocess.run([sys.executable, "-c", "import sys; print('of a child', file=sys.stderr)"])
print("for people", file=sys.stderr)
print("a result")
print(log.tail())
"""


def test_what_libraries_write_goes_to_the_log(tmp_path: Path) -> None:
    (tmp_path / DVC_STAGES).touch()
    log = log_file(tmp_path, "train")
    log.parent.mkdir(parents=True)
    log.write_text("of an earlier run\n")
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stderr == "for people\n"
    assert done.stdout == "a result\nof native code\nof a child\n"
    assert log.read_text() == "of an earlier run\nof native code\nof a child\n"


def test_outside_of_a_workspace_nothing_is_diverted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert divert_stderr("train") is None
    assert list(tmp_path.iterdir()) == []


def test_captured_output_is_kept_from_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "logs" / "a.log"
    with captured_output(log) as lines:
        os.write(1, b"a result\n")
        os.write(2, b"a warning\n")
    os.write(1, b"after\n")
    assert lines == ["a result"]
    assert sorted(log.read_text().splitlines()) == ["a result", "a warning"]
    assert capfd.readouterr() == ("after\n", "")


def test_a_process_that_outlives_its_stage_holds_up_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """What came until then is forwarded, and descriptor 1 is as it was before."""
    monkeypatch.setattr(stage_log, "_DRAIN_SECONDS", 0.5)
    lines: list[str] = []
    was = os.fstat(1)
    with forwarded_output(lines.append, echo=False):
        left = subprocess.Popen(["sh", "-c", "echo of a daemon; exec sleep 60"])
        started = time.monotonic()
    assert time.monotonic() - started < 5
    assert lines == ["of a daemon"]
    assert os.fstat(1) == was
    left.kill()
    left.wait()
