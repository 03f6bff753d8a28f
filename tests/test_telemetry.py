from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_loading_a_model_writes_no_telemetry_ids(tmp_path: Path, brightness_model: Path) -> None:
    home, scratch = tmp_path / "home", tmp_path / "tmp"
    home.mkdir()
    scratch.mkdir()
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    script = f"""
from pathlib import Path
from fer_pipeline.inference.recognizer import Recognizer
Recognizer.load(Path({str(brightness_model)!r}))
"""
    environment = {**kept, "HOME": str(home), "TMPDIR": str(scratch), "XDG_CACHE_HOME": str(home / ".cache")}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    assert [*home.rglob("*"), *scratch.rglob("*")] == []
