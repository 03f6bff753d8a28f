from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fer_pipeline.errors import WorkspaceBusyError
from fer_pipeline.workspace.locks import exclusive


def test_a_second_writer_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path / "out", "first run"),
        pytest.raises(WorkspaceBusyError, match=rf"process {os.getpid()} \(first run, since"),
        exclusive(tmp_path / "out", "second run"),
    ):
        pass


def test_a_lock_ends_with_the_process_that_held_it(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from fer_pipeline.workspace.locks import exclusive
with exclusive(Path({str(tmp_path / "out")!r}), "run that is killed"):
    Path({str(tmp_path / "held")!r}).touch()
    time.sleep(60)
"""
    holder = subprocess.Popen([sys.executable, "-c", script])
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / "held").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        with pytest.raises(WorkspaceBusyError), exclusive(tmp_path / "out", "too early"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with exclusive(tmp_path / "out", "after the kill"):
        pass
