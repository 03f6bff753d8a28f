"""Measure time and memory of preprocess and score against rows.

A plain loop, local Spark, and a cluster of two workers on loopback.

The set is FER-2013 (data/raw of the workspace where it has one, else drawn faces of that size), repeated. A repeated picture has
its number in the first pixel, so that copies are no more frequent than in the set itself. Local mode and cluster must write the
same. `python -m benchmarks.scale --repeats 1 4 16 64 --figure scale.png` takes two hours, `python -m benchmarks scale` does 1
and 4 in minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.cluster import Cluster, cluster
from benchmarks.preprocessing import raw_table
from fer_pipeline.errors import FerError
from fer_pipeline.schemas import RAW

RAW_FOLDER = Path("data/raw")
MODES = ("local[2]", "cluster", "loop")
JOBS = ("preprocess", "score")

progress = Console(stderr=True, soft_wrap=True)  # hours may pass before the table


@dataclass(frozen=True)
class Measured:
    """One job on one set: wall and CPU seconds, peak memory in GB.

    The start of Spark is included; memory is proportional set size.

    The CPU seconds are those of all processes of the job, executors included, and say more than the wall on a busy machine.
    """

    rows: int
    mode: str
    job: str
    seconds: float
    cpu_seconds: float
    driver_gb: float
    executor_gb: float | None


def tables(repeats: Sequence[int] = (1, 4), jobs: Sequence[str] = JOBS, figure: Path | None = None) -> Iterator[Table]:
    """Return one table; write the figure where a path is given.

    Raises `FerError` where cluster and local mode differ.
    """
    measured: list[Measured] = []
    with tempfile.TemporaryDirectory(prefix="fer-scale-") as name, cluster(Path(name)) as running:
        for repeat in repeats:
            for found in _measure(Path(name) / f"x{repeat}", repeat, jobs, running):
                measured.append(found)
                progress.print(found)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    title = f"scale, {os.cpu_count()} cores, load now {load}"
    table = Table("rows", "job", "where", "seconds", "CPU seconds", "driver, GB", "each executor, GB", title=title)
    for found in measured:
        executor = "" if found.executor_gb is None else f"{found.executor_gb:.2f}"
        times = (f"{found.seconds:.1f}", f"{found.cpu_seconds:.1f}")
        table.add_row(f"{found.rows:,}", found.job, found.mode, *times, f"{found.driver_gb:.2f}", executor)
    if figure is not None:
        _draw(measured).savefig(figure, dpi=120)
    yield table


def repeated(source: Path, folder: Path, times: int) -> int:
    """Write a raw table with each row of another one `times` times.

    Each copy has another picture. Returns the number of rows.
    """
    folder.mkdir(parents=True)
    table = pq.ParquetFile(source / "faces.parquet")
    rows = table.metadata.num_rows
    with pq.ParquetWriter(folder / "faces.parquet", RAW, compression="zstd", use_dictionary=["emotion", "usage"]) as writer:
        for number in range(times):
            for batch in table.iter_batches(2000):
                writer.write_table(_renumbered(pa.Table.from_batches([batch]), number, rows), 2000)
    metadata = json.loads((source / "source.json").read_text(encoding="utf-8"))
    (folder / "source.json").write_text(json.dumps({**metadata, "rows": rows * times}), encoding="utf-8")
    return rows * times


def _renumbered(table: pa.Table, number: int, rows: int) -> pa.Table:
    if not number:
        return table
    changed = {
        "row": pc.add(table["row"], number * rows),
        "name": pc.binary_join_element_wise(table["name"], str(number), "#"),
        "pixels": pc.replace_substring_regex(table["pixels"], r"^\s*\d+", str(number)),
    }
    for name, values in changed.items():
        table = table.set_column(table.schema.get_field_index(name), RAW.field(name), values)
    return table


def _measure(folder: Path, repeat: int, jobs: Sequence[str], running: Cluster) -> Iterator[Measured]:
    raw, made = RAW_FOLDER, folder / "made"
    if not (raw / "faces.parquet").exists():
        raw = raw_table(made)
    rows = repeated(raw, folder / "raw", repeat)
    digests: dict[str, str] = {}
    for mode in MODES:
        for job in jobs:
            source = folder / "raw" if job == "preprocess" else folder / MODES[0] / "preprocess" / "processed"
            (folder / mode / job).mkdir(parents=True)
            yield _run(rows, mode, job, source, folder / mode / job, running)
        digests[mode] = _digest(folder / mode)
    if digests["local[2]"] != digests["cluster"]:
        raise FerError(f"cluster and local mode wrote different tables for {rows:,} rows: this is a fault, please report it")
    shutil.rmtree(folder)


def _run(rows: int, mode: str, job: str, source: Path, out: Path, running: Cluster) -> Measured:
    master = running.url if mode == "cluster" else mode
    command = [sys.executable, "-m", "benchmarks.scale_jobs", job, master, str(source), str(out)]
    started = time.perf_counter()
    process = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": "1"})
    driver, executors, cpu = 0, [0], dict[int, float]()
    root = psutil.Process(process.pid)
    while process.poll() is None:
        time.sleep(0.5)
        driver = max(driver, _memory(root, cpu))
        executors += [_memory(executor, cpu) for executor in (running.executors() if mode == "cluster" else [])]
    if process.returncode:
        raise FerError(f"{job} on {mode} with {rows:,} rows ended with exit code {process.returncode}; its message is above")
    seconds = time.perf_counter() - started
    executor = max(executors) / 1e9 if mode == "cluster" else None
    return Measured(rows, mode, job, seconds, sum(cpu.values()), driver / 1e9, executor)


def _memory(root: psutil.Process, cpu: dict[int, float]) -> int:
    """Return bytes of a process and its children; note their CPU seconds."""
    total = 0
    with suppress(psutil.Error):  # it has just ended
        for process in [root, *root.children(recursive=True)]:
            with suppress(psutil.Error):
                total += process.memory_full_info().pss
                times = process.cpu_times()
                cpu[process.pid] = times.user + times.system
    return total


def _digest(out: Path) -> str:
    """Return a digest of preprocess's files, or of score's tables.

    Spark writes the files of score, with metadata of its own in them.
    """
    digest = hashlib.sha256()
    for path in sorted((out / "preprocess").rglob("*")):
        if path.is_file():
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    for path in sorted((out / "score").rglob("*.parquet")):
        for batch in pq.ParquetFile(path).iter_batches():
            digest.update(repr(batch.to_pydict()).encode())
    return digest.hexdigest()


def _draw(measured: list[Measured]) -> Figure:
    figure = Figure(figsize=(11, 4), layout="constrained")
    *times, memory = figure.subplots(1, 3)
    for axes, job in zip(times, JOBS, strict=True):
        for mode in MODES:
            found = [entry for entry in measured if (entry.mode, entry.job) == (mode, job)]
            axes.loglog([entry.rows for entry in found], [entry.seconds for entry in found], marker="o", label=mode)
        axes.set(title=job, xlabel="rows", ylabel="seconds")
        axes.legend()
    for mode, name in (("loop", "loop"), ("local[2]", "local, all processes"), ("cluster", "driver of the cluster")):
        found = [entry for entry in measured if (entry.mode, entry.job) == (mode, "preprocess")]
        memory.semilogx([entry.rows for entry in found], [entry.driver_gb for entry in found], marker="o", label=name)
    found = [entry for entry in measured if (entry.mode, entry.job) == ("cluster", "preprocess")]
    memory.semilogx([entry.rows for entry in found], [entry.executor_gb for entry in found], marker="o", label="each executor")
    memory.set(title="preprocess", xlabel="rows", ylabel="peak memory, GB", ylim=(0, None))
    memory.legend()
    return figure


def main() -> None:
    """Measures the sets that are asked for and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description="Time and memory against rows.")
    parser.add_argument("--repeats", type=int, nargs="+", default=[1, 4], help="how often the set is repeated")
    jobs = {"preprocess": ("preprocess",), "both": JOBS}  # score reads what preprocess has written
    parser.add_argument("--jobs", choices=list(jobs), default="both", help="score takes most of the time")
    parser.add_argument("--figure", type=Path, help="PNG or SVG to write")
    given = parser.parse_args()
    try:
        for table in tables(given.repeats, jobs[given.jobs], given.figure):
            Console().print(table)
    except FerError as error:
        parser.exit(error.exit_code, f"{error}\n")


if __name__ == "__main__":
    main()
