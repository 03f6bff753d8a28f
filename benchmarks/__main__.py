"""`make bench`: runs all benchmarks and prints them. Needs an exported model (`make run` makes one)."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import inference, preprocessing

MODEL = Path("data/export")


def main() -> None:
    """Measures and prints; a benchmark that cannot run says why."""
    table = Table("what", "value", title="benchmarks")
    for module in ("fer_pipeline.inference.recognizer", "fer_pipeline.cli.app"):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
        table.add_row(f"import {module}, s", f"{time.perf_counter() - started:.2f}")
    if MODEL.exists():
        for name, value in inference.measure(MODEL).items():
            table.add_row(name, f"{value:.2f}")
    else:
        table.add_row("inference", f"left out: {MODEL} is missing, `make run` makes it")
    with tempfile.TemporaryDirectory() as scratch:
        raw = preprocessing.raw_table(Path(scratch) / "raw")
        plain = preprocessing.loop(raw)
        seconds, gigabytes = preprocessing.stage(raw, Path(scratch))
    table.add_row(f"plain loop over {preprocessing.ROWS:,} rows, s", f"{plain:.1f}")
    table.add_row("preprocess stage, Spark's start included, s", f"{seconds:.1f}")
    table.add_row("preprocess stage, peak memory, GB", f"{gigabytes:.2f}")
    Console().print(table)


main()
