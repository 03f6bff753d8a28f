"""Compare preprocess in Spark with a single-process loop.

At the size of FER-2013; the loop does the same per picture and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
from rich.table import Table

from fer_pipeline import imaging, schemas
from fer_pipeline.data.synthetic.generator import draw_faces

ROWS = 32_298


def tables() -> Iterator[Table]:
    """Seconds of the loop and of the stage, and the stage's memory."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = raw_table(Path(scratch) / "raw")
        plain = loop(raw)
        seconds, gigabytes = stage(raw, Path(scratch))
    table = Table("what", "value", title=f"preprocessing, {ROWS:,} rows")
    table.add_row("plain loop, s", f"{plain:.1f}")
    table.add_row("preprocess stage, Spark's start included, s", f"{seconds:.1f}")
    table.add_row("preprocess stage, peak memory, GB", f"{gigabytes:.2f}")
    yield table


def raw_table(folder: Path, rows: int = ROWS) -> Path:
    """Write a raw table like FER-2013's from drawn faces with noise.

    Pixels are text; the splits are 8/1/1.
    """
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    images, labels = draw_faces(700, 0)
    usages = ("Training",) * 8 + ("PublicTest", "PrivateTest")
    with pq.ParquetWriter(folder / "faces.parquet", schemas.RAW) as writer:
        for start in range(0, rows, 2000):
            part = []
            for row in range(start, min(start + 2000, rows)):
                noisy = np.clip(images[row % 700].astype(np.int16) + generator.integers(-9, 10, (48, 48)), 0, 255)
                part.append(
                    {
                        "row": row,
                        "name": f"made:{row}",
                        "emotion": str(labels[row % 700]),
                        "usage": usages[row % 10],
                        "pixels": " ".join(map(str, noisy.ravel())),
                        "image": None,
                        "votes": None,
                    }
                )
            writer.write_table(pa.Table.from_pylist(part, schema=schemas.RAW))
    metadata = {"kind": "made", "name": "made", "rows": rows, "synthetic": True}
    (folder / "source.json").write_text(json.dumps(metadata), encoding="utf-8")
    return folder


def loop(raw: Path) -> float:
    """Seconds of the plain loop: parse, hash, measure each picture in one process."""
    started = time.perf_counter()
    for batch in pq.ParquetFile(raw / "faces.parquet").iter_batches(2000, columns=["pixels"]):
        for text in batch.column("pixels").to_pylist():
            gray = np.fromstring(text, dtype=np.int64, sep=" ").astype(np.uint8).reshape(48, 48)
            imaging.content_hash(gray)
            imaging.perceptual_hash(gray)
            float(gray.mean()), float(gray.std())
    return time.perf_counter() - started


def stage(raw: Path, work: Path) -> tuple[float, float]:
    """Return seconds and peak memory (GB) of `fer preprocess`.

    Memory is the proportional set size of all processes; the start of Spark is included.
    """
    params = Path(__file__).parents[1] / "params.yaml"
    command = [
        Path(sys.executable).with_name("fer"), "preprocess", "--raw", raw, "--out", work / "processed",
        "--quarantine", work / "quarantine", "--params", params,
    ]  # fmt: skip
    started = time.perf_counter()
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
    peak = _watch(lambda: _tree_memory(process.pid), process)
    if process.returncode:
        raise SystemExit(f"fer preprocess ended with {process.returncode}")
    return time.perf_counter() - started, peak / 1e9


def _watch(measure: Callable[[], int], process: subprocess.Popen[bytes]) -> int:
    peaks = [0]
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(0.25):
            peaks.append(measure())

    thread = threading.Thread(target=sample)
    thread.start()
    process.wait()
    stop.set()
    thread.join()
    return max(peaks)


def _tree_memory(pid: int) -> int:
    total = 0
    try:
        for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]:
            total += process.memory_full_info().pss
    except psutil.Error:  # a process of the tree has just ended
        return total
    return total
