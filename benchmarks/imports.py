"""Measure import times of the recognizer and of `fer`.

Each in a fresh process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

from rich.table import Table

MODULES = ("fer_pipeline.inference.recognizer", "fer_pipeline.cli.app")


def tables() -> Iterator[Table]:
    """Seconds per module, once each."""
    table = Table("import", "s", title="imports")
    for module in MODULES:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        table.add_row(module, f"{time.perf_counter() - started:.2f}")
    yield table
