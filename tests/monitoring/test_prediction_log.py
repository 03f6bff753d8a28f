from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.monitoring import log_files
from fer_pipeline.monitoring.observations import LoggedFace
from fer_pipeline.monitoring.prediction_log import LogSettings, PredictionLog


def face() -> LoggedFace:
    return LoggedFace(datetime.now(UTC), "compact", "abc", (0, 0, 0, 1, 0, 0, 0), "happy", False, 120, 900, 128, 55)


def rows(folder: Path) -> int:
    now = datetime.now(UTC)
    return len(log_files.read(folder, now - timedelta(hours=1), now + timedelta(hours=1), "abc").observations)


def test_closing_writes_what_waits(tmp_path: Path) -> None:
    counts: Counter[str] = Counter()
    log = PredictionLog(LogSettings(tmp_path, 30, 500), lambda outcome, number: counts.update({outcome: number}), log_files.write)
    for _ in range(5):
        log.put(face())
    log.close()
    assert rows(tmp_path) == 5
    assert counts == {"written": 5}


def test_batches_are_bounded(tmp_path: Path) -> None:
    log = PredictionLog(LogSettings(tmp_path, 30, 500), lambda *_: None, log_files.write, batch_rows=2)
    for _ in range(5):
        log.put(face())
    log.close()
    assert len(list(tmp_path.rglob("*.parquet"))) == 3
    assert rows(tmp_path) == 5


def test_a_disk_that_fails_or_hangs_does_not_block_requests(tmp_path: Path) -> None:
    """A disk that fails or hangs neither fails nor delays who answers."""

    def fail(*_: object) -> None:
        time.sleep(0.3)
        raise OSError(28, "No space left on device")

    counts: Counter[str] = Counter()
    log: PredictionLog[LoggedFace] = PredictionLog(
        LogSettings(tmp_path, 30, 500),
        lambda outcome, number: counts.update({outcome: number}),
        fail,
        batch_rows=1,
        max_waiting=2,
    )
    start = time.monotonic()
    for _ in range(50):
        log.put(face())
    assert time.monotonic() - start < 0.3
    log.close()
    assert counts["dropped"] >= 46
    assert counts["dropped"] + counts["failed"] == 50


def test_a_folder_that_cannot_be_written_is_an_error_at_start(tmp_path: Path) -> None:
    """A folder that cannot be written keeps the service from starting."""
    (tmp_path / "file").touch()
    with pytest.raises(ToolUnavailableError, match=r"FER_PREDICTION_LOG names .*cannot be written"):
        PredictionLog(LogSettings(tmp_path / "file" / "log", 30, 500), lambda *_: None, log_files.write)
