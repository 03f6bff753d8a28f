"""Read and write the shadow log: predictions of two models for the same faces."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa

from fer_pipeline.errors import MonitoringError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.monitoring import log_files
from fer_pipeline.monitoring.observations import Pairs

SIDES = ("champion", "challenger")

SCHEMA = pa.schema(
    [
        pa.field("time", pa.timestamp("ms", tz="UTC"), nullable=False),
        *(pa.field(f"{side}_{name}", pa.string(), nullable=False) for side in SIDES for name in ("model", "version")),
        *(pa.field(f"{side}_{emotion}", pa.float32(), nullable=False) for side in SIDES for emotion in EMOTIONS),
        *(pa.field(f"{side}_milliseconds", pa.float32(), nullable=False) for side in SIDES),
    ]
)


@dataclass(frozen=True)
class Side:
    """Prediction of one model for a face.

    `model` is the name of the network, `version` the fingerprint of the model; `probabilities` (7) are in the order of
    `labels.EMOTIONS`, `milliseconds` is the time of the network only.
    """

    model: str
    version: str
    probabilities: tuple[float, ...]
    milliseconds: float


@dataclass(frozen=True)
class LoggedPair:
    """Predictions of two models for one face; `time` is timezone-aware."""

    time: datetime
    champion: Side
    challenger: Side


@dataclass(frozen=True)
class ShadowWindow:
    """Predictions of the two models that were compared last in a time window.

    `champion` and `challenger` are "network fingerprint"; `others` counts the faces of other pairs of models, `unreadable` names
    the files that could not be read.
    """

    champion: str
    challenger: str
    pairs: Pairs
    others: dict[str, int]
    unreadable: tuple[str, ...]


def write(folder: Path, pairs: Sequence[LoggedPair]) -> None:
    """Write predictions, one new file per day.

    Raises `OSError` or an exception of pyarrow.
    """
    log_files.write_rows(folder, [(pair.time, _row(pair)) for pair in pairs], SCHEMA)


def read(folder: Path, since: datetime, until: datetime) -> ShadowWindow:
    """Read the predictions of the two models that were compared last.

    Those of `since <= time < until`, timezone-aware. Raises `MonitoringError` where the folder does not exist, or holds no face
    of that time.
    """
    if not folder.is_dir():
        raise MonitoringError(f"there is no log of shadow mode in {folder}: start the service with `fer serve --shadow 0.1`")
    table, unreadable = log_files.read_rows(folder, since, until, SCHEMA)
    if not table.num_rows:
        damaged = f" ({len(unreadable)} files cannot be read: {', '.join(unreadable[:3])})" if unreadable else ""
        raise MonitoringError(
            f"the log in {folder} holds no comparison of that time{damaged}: take a longer --window, or see whether the service "
            "has a challenger (`fer shadow start`) and gets pictures"
        )
    names = [_models(table, side) for side in SIDES]
    couples = [f"{champion} and {challenger}" for champion, challenger in zip(*names, strict=True)]
    newest = int(np.argmax(np.asarray(table["time"].cast(pa.int64()))))
    of_newest = np.array(couples, dtype=np.str_) == couples[newest]
    own = table.filter(pa.array(of_newest))
    probabilities, milliseconds = [], []
    for side in SIDES:
        probabilities.append(np.stack([np.asarray(own[f"{side}_{emotion}"], np.float64) for emotion in EMOTIONS], axis=1))
        milliseconds.append(np.asarray(own[f"{side}_milliseconds"], np.float64))
    others = Counter(couple for couple in couples if couple != couples[newest])
    return ShadowWindow(names[0][newest], names[1][newest], Pairs(*probabilities, *milliseconds), dict(others), unreadable)


def _models(table: pa.Table, side: str) -> list[str]:
    columns = (table[f"{side}_{name}"].to_pylist() for name in ("model", "version"))
    return [f"{model} {version}" for model, version in zip(*columns, strict=True)]


def _row(pair: LoggedPair) -> dict[str, object]:
    row: dict[str, object] = {"time": pair.time}
    for name in SIDES:
        side: Side = getattr(pair, name)
        row |= {f"{name}_{field}": getattr(side, field) for field in ("model", "version", "milliseconds")}
        row |= {f"{name}_{emotion}": value for emotion, value in zip(EMOTIONS, side.probabilities, strict=True)}
    return row
