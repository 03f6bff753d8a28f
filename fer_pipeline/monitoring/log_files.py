"""Read and write the prediction log.

Parquet files are in daily folders `date=YYYY-MM-DD` (UTC). Files are written atomically under unique names, so that any number
of workers can write and readers never see half a file.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fer_pipeline.environment import LOG_VARIABLE
from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring.observations import LoggedFace, Observations
from fer_pipeline.workspace.files import replaced_file

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("version", pa.string(), nullable=False),
        *(pa.field(emotion, pa.float32(), nullable=False) for emotion in EMOTIONS),
        pa.field("top_emotion", pa.string(), nullable=False),
        pa.field("uncertain", pa.bool_(), nullable=False),
        pa.field("size", pa.float32(), nullable=False),
        pa.field("sharpness", pa.float32(), nullable=False),
        pa.field("brightness", pa.float32(), nullable=False),
        pa.field("contrast", pa.float32(), nullable=False),
    ]
)

_DAY, _SUFFIX, _ASIDE = "date=", ".parquet", ".*.new*"
_STALE_SECONDS = 3600  # after which an unfinished file belongs to a worker that was killed


@dataclass(frozen=True)
class Window:
    """Predictions of one model in a time window.

    `uncertain` is the share of "uncertain", `median_size` is in pixels; both are None without rows. `other_versions` counts the
    rows of other models by fingerprint, `unreadable` names the files that could not be read.
    """

    observations: Observations
    uncertain: float | None
    median_size: float | None
    other_versions: dict[str, int]
    unreadable: tuple[str, ...]


def write(folder: Path, faces: Sequence[LoggedFace]) -> None:
    """Write predictions, one new file per day.

    Raises `OSError` or an exception of pyarrow.
    """
    write_rows(folder, [(face.time, _row(face)) for face in faces], SCHEMA)


def write_rows(folder: Path, rows: Sequence[tuple[datetime, Mapping[str, object]]], schema: pa.Schema) -> None:
    """Write rows of any schema with timezone-aware times, one new file per day."""
    days: dict[str, list[tuple[datetime, Mapping[str, object]]]] = defaultdict(list)
    for moment, row in rows:
        days[moment.astimezone(UTC).date().isoformat()].append((moment, row))
    for day, those in days.items():
        target = folder / f"{_DAY}{day}"
        target.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"{those[0][0].astimezone(UTC):%H%M%S}-{uuid.uuid4().hex[:12]}"
        with replaced_file(target / f"{name}{_SUFFIX}") as aside:
            pq.write_table(pa.Table.from_pylist([row for _, row in those], schema), aside)


def prune(folder: Path, keep_days: int, max_bytes: int, today: date) -> int:
    """Remove files older than `keep_days`, then the oldest beyond `max_bytes`.

    Returns the number of removed files. Only files of the log are touched; other workers may prune at the same time.
    """
    files = []
    for file in sorted(folder.glob(f"{_DAY}*/*{_SUFFIX}")):
        try:
            files.append((file, file.stat().st_size))
        except FileNotFoundError:  # another worker removed it
            continue
    total = sum(size for _, size in files)
    oldest = f"{_DAY}{(today - timedelta(days=keep_days - 1)).isoformat()}"
    removed = 0
    for file, size in files:
        if file.parent.name >= oldest and total <= max_bytes:
            break
        file.unlink(missing_ok=True)
        total -= size
        removed += 1
    for aside in folder.glob(f"{_DAY}*/{_ASIDE}"):
        if _is_stale(aside):
            aside.unlink(missing_ok=True)
    for day in folder.glob(f"{_DAY}*"):
        if day.name < oldest and not any(day.iterdir()):
            day.rmdir()
    return removed


def read(folder: Path, since: datetime, until: datetime, version: str) -> Window:
    """Read the predictions of the model with fingerprint `version`.

    Those of `since <= time < until`, timezone-aware. Those of other models are counted. Raises `MonitoringError` where the
    folder does not exist.
    """
    if not folder.is_dir():
        raise MonitoringError(
            f"there is no log of predictions in {folder}: name its folder with --log, or let the service write one, started with "
            f"{LOG_VARIABLE}={folder.absolute()}"
        )
    table, unreadable = read_rows(folder, since, until, SCHEMA)
    versions = np.array(table["version"].to_pylist(), dtype=np.str_)
    others = Counter(versions[versions != version].tolist())
    own = table.filter(pa.array(versions == version))
    return Window(
        Observations(
            np.stack([np.asarray(own[emotion], np.float64) for emotion in EMOTIONS], axis=1),
            *(np.asarray(own[name], np.float64) for name in ("sharpness", "brightness", "contrast")),
        ),
        uncertain=float(np.mean(np.asarray(own["uncertain"]))) if own.num_rows else None,
        median_size=float(np.median(np.asarray(own["size"]))) if own.num_rows else None,
        other_versions=dict(others),
        unreadable=unreadable,
    )


def read_rows(folder: Path, since: datetime, until: datetime, schema: pa.Schema) -> tuple[pa.Table, tuple[str, ...]]:
    """Read the rows of `since <= time < until`, and the names of unreadable files."""
    tables, unreadable = [schema.empty_table()], []
    for file in _files(folder, since, until):
        try:
            with pq.ParquetFile(file.absolute()) as stored:
                tables.append(stored.read().select(schema.names).cast(schema))
        except FileNotFoundError:  # pruned meanwhile
            continue
        except (OSError, ValueError, KeyError, pa.ArrowException):
            unreadable.append(file.relative_to(folder).as_posix())
    table = pa.concat_tables(tables)
    times = np.asarray(table["time"].cast(pa.int64()))
    inside = (times >= since.timestamp() * 1000) & (times < until.timestamp() * 1000)
    return table.filter(pa.array(inside)), tuple(unreadable)


def _row(face: LoggedFace) -> dict[str, object]:
    probabilities = dict(zip(EMOTIONS, face.probabilities, strict=True))
    return {name: probabilities[name] if name in probabilities else getattr(face, name) for name in SCHEMA.names}


def _files(folder: Path, since: datetime, until: datetime) -> Iterator[Path]:
    first, last = (f"{_DAY}{moment.astimezone(UTC).date().isoformat()}" for moment in (since, until))
    for day in sorted(folder.glob(f"{_DAY}*")):
        if first <= day.name <= last:
            yield from sorted(day.glob(f"*{_SUFFIX}"))


def _is_stale(aside: Path) -> bool:
    try:
        return time.time() - aside.stat().st_mtime > _STALE_SECONDS
    except FileNotFoundError:
        return False
