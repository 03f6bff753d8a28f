from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring import shadow_log
from fer_pipeline.monitoring.shadow_log import LoggedPair, Side

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
PAIR = LoggedPair(
    NOON,
    Side("compact", "abc", (0.1, 0.0, 0.0, 0.9, 0.0, 0.0, 0.0), 1.5),
    Side("compact", "def", (0.7, 0.0, 0.0, 0.3, 0.0, 0.0, 0.0), 3.0),
)


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    shadow_log.write(tmp_path, [PAIR, PAIR])
    window = shadow_log.read(tmp_path, NOON, NOON + timedelta(seconds=1))
    assert (window.champion, window.challenger, window.others) == ("compact abc", "compact def", {})
    assert window.pairs.champion[1] == pytest.approx(PAIR.champion.probabilities)
    assert window.pairs.challenger[1] == pytest.approx(PAIR.challenger.probabilities)
    assert window.pairs.challenger_milliseconds.tolist() == [3.0, 3.0]


def test_the_last_compared_models_are_reported_others_counted(tmp_path: Path) -> None:
    """The two models that were compared last are reported and others counted."""
    older = replace(PAIR, challenger=replace(PAIR.challenger, version="old"))
    shadow_log.write(tmp_path, [replace(PAIR, time=NOON + timedelta(minutes=1)), older, older])
    window = shadow_log.read(tmp_path, NOON, NOON + timedelta(hours=1))
    assert (window.challenger, len(window.pairs)) == ("compact def", 1)
    assert window.others == {"compact abc and compact old": 2}


def test_a_log_without_comparisons_says_so(tmp_path: Path) -> None:
    with pytest.raises(MonitoringError, match="no log of shadow mode"):
        shadow_log.read(tmp_path / "none", NOON, NOON)
    shadow_log.write(tmp_path, [PAIR])
    with pytest.raises(MonitoringError, match=r"no comparison of that time: take a longer"):
        shadow_log.read(tmp_path, NOON - timedelta(hours=1), NOON)
    for file in tmp_path.rglob("*.parquet"):
        file.write_bytes(b"half a file")
    with pytest.raises(MonitoringError, match=r"1 files cannot be read: date=2026-05-04/"):
        shadow_log.read(tmp_path, NOON, NOON + timedelta(hours=1))


def test_the_log_holds_neither_picture_nor_place() -> None:
    sides = [f"{side}_{name}" for side in ("champion", "challenger") for name in ("model", "version", "milliseconds", *EMOTIONS)]
    assert set(shadow_log.SCHEMA.names) == {"time", *sides}
