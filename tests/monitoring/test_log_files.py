from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring import log_files
from fer_pipeline.monitoring.observations import LoggedFace

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
FACE = LoggedFace(NOON, "compact", "abc", (0.1, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0), "happy", False, 120.0, 900.0, 128.0, 55.0)


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).parts[0] for path in folder.rglob("*.parquet"))


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    log_files.write(tmp_path, [FACE, replace(FACE, brightness=60.0, uncertain=True)])
    window = log_files.read(tmp_path, NOON, NOON + timedelta(seconds=1), "abc")
    assert window.observations.brightness.tolist() == [128.0, 60.0]
    assert window.observations.emotion_counts.tolist() == [0, 0, 0, 2, 0, 0, 0]
    assert window.observations.probabilities[0] == pytest.approx(FACE.probabilities)
    assert (window.uncertain, window.median_size) == (0.5, 120.0)


def test_the_log_holds_neither_picture_nor_place() -> None:
    expected = ["time", "model", "version", *EMOTIONS, "top_emotion", "uncertain", "size", "sharpness", "brightness", "contrast"]
    assert log_files.SCHEMA.names == expected


def test_midnight_parts_a_batch_into_two_daily_folders(tmp_path: Path) -> None:
    late = NOON.replace(hour=23, minute=59)
    log_files.write(tmp_path, [replace(FACE, time=late), replace(FACE, time=late + timedelta(minutes=2))])
    assert files(tmp_path) == ["date=2026-05-04", "date=2026-05-05"]
    assert len(log_files.read(tmp_path, late, late + timedelta(minutes=1), "abc").observations) == 1
    assert len(log_files.read(tmp_path, late, late + timedelta(minutes=3), "abc").observations) == 2


def test_rows_of_other_models_are_counted_not_mixed_in(tmp_path: Path) -> None:
    log_files.write(tmp_path, [FACE, replace(FACE, version="old"), replace(FACE, version="old")])
    window = log_files.read(tmp_path, NOON, NOON + timedelta(hours=1), "abc")
    assert len(window.observations) == 1
    assert window.other_versions == {"old": 2}


def test_a_damaged_file_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    log_files.write(tmp_path, [FACE])
    (tmp_path / "date=2026-05-04" / "120000-bad.parquet").write_bytes(b"half a file")
    other = pa.table({"something": [1]})
    pq.write_table(other, tmp_path / "date=2026-05-04" / "120001-other.parquet")
    window = log_files.read(tmp_path, NOON, NOON + timedelta(hours=1), "abc")
    assert len(window.observations) == 1
    assert window.unreadable == ("date=2026-05-04/120000-bad.parquet", "date=2026-05-04/120001-other.parquet")


def test_a_missing_log_is_an_error_and_an_empty_one_is_not(tmp_path: Path) -> None:
    """No log is an error that says how to get one and an empty one is not."""
    with pytest.raises(
        MonitoringError, match="name its folder with --log, or let the service write one, started with FER_PREDICTION_LOG="
    ):
        log_files.read(tmp_path / "none", NOON, NOON, "abc")
    window = log_files.read(tmp_path, NOON, NOON + timedelta(hours=1), "abc")
    assert (len(window.observations), window.uncertain) == (0, None)


def test_old_days_go_and_nothing_else(tmp_path: Path) -> None:
    for days in (0, 1, 2):
        log_files.write(tmp_path, [replace(FACE, time=NOON - timedelta(days=days))])
    (tmp_path / "mine.txt").touch()
    assert log_files.prune(tmp_path, 2, 10**9, date(2026, 5, 4)) == 1
    assert files(tmp_path) == ["date=2026-05-03", "date=2026-05-04"]
    assert (tmp_path / "mine.txt").exists()
    assert not (tmp_path / "date=2026-05-02").exists()


def test_beyond_the_size_the_oldest_files_go_first(tmp_path: Path) -> None:
    for minute in range(4):
        log_files.write(tmp_path, [replace(FACE, time=NOON + timedelta(minutes=minute))])
    (one, *_) = tmp_path.rglob("*.parquet")
    assert log_files.prune(tmp_path, 30, 2 * one.stat().st_size, date(2026, 5, 4)) == 2
    assert sorted(path.name[:6] for path in tmp_path.rglob("*.parquet")) == ["120200", "120300"]


def test_workers_may_write_and_prune_at_the_same_time(tmp_path: Path) -> None:
    """Several workers writing and pruning at once do not clash."""

    def work() -> None:
        for _ in range(10):
            log_files.write(tmp_path, [FACE])
            log_files.prune(tmp_path, 30, 10**9, NOON.date())

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    window = log_files.read(tmp_path, NOON, NOON + timedelta(hours=1), "abc")
    assert len(window.observations) == 40
    assert np.unique(files(tmp_path)).tolist() == ["date=2026-05-04"]
    assert not list(tmp_path.rglob(".*"))
