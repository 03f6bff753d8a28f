"""Log predictions from a background thread, so that no request waits for the disk."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import Generic, TypeVar

import pyarrow as pa

from fer_pipeline.environment import LOG_VARIABLE
from fer_pipeline.errors import ParamsError, ToolUnavailableError
from fer_pipeline.monitoring import log_files

Row = TypeVar("Row")

MAX_WAITING = 10_000
"""Maximum number of queued predictions; further ones are dropped and counted."""

BATCH_ROWS = 2_000
FLUSH_SECONDS = 60.0
"""Rows of a file, and time after its first row at which it is written.

A killed worker loses at most one such file.
"""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LogSettings:
    """Folder and size limits of a log; `name` is its environment variable."""

    folder: Path
    days: int
    megabytes: int
    name: str = LOG_VARIABLE

    def __post_init__(self) -> None:
        for name in ("days", "megabytes"):
            if getattr(self, name) < 1:
                raise ParamsError(f"{self.name}_{name.upper()} is {getattr(self, name)}, expected a positive whole number")


class PredictionLog(Generic[Row]):
    """Log of one worker; any number of workers may share its folder."""

    def __init__(
        self,
        settings: LogSettings,
        count: Callable[[str, int], None],
        write: Callable[[Path, Sequence[Row]], None],
        *,
        batch_rows: int = BATCH_ROWS,
        flush_seconds: float = FLUSH_SECONDS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """Start the writer thread.

        `count` is called with an outcome and a number of predictions: "written", "dropped" (the queue was full) or "failed".
        `write` adds rows to the files of the folder; it may raise `OSError` or an exception of pyarrow. Raises
        `ToolUnavailableError` where the folder cannot be written.
        """
        try:
            settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            probe = settings.folder / f".{time.time_ns()}.probe"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ToolUnavailableError(
                f"{settings.name} names {settings.folder}, which cannot be written ({error.strerror}): change its owner, or name "
                "another"
            ) from error
        pa.array([0])  # pyarrow imports pandas here, if installed, for seconds: not during a request
        self._settings = settings
        self._count = count
        self._write_rows = write
        self._batch_rows = batch_rows
        self._flush_seconds = flush_seconds
        self._waiting: queue.Queue[Row] = queue.Queue(max_waiting)
        self._closing = Event()
        self._thread = Thread(target=self._write_all, name="prediction log", daemon=True)
        self._thread.start()

    def put(self, row: Row) -> None:
        """Queue one prediction; returns at once."""
        try:
            self._waiting.put_nowait(row)
        except queue.Full:
            self._count("dropped", 1)

    def close(self) -> None:
        """Write the queued predictions and end the writer thread."""
        self._closing.set()
        self._thread.join(timeout=10)

    def _write_all(self) -> None:
        self._prune()
        while not (self._closing.is_set() and self._waiting.empty()):
            batch = self._batch()
            if batch:
                self._write(batch)
            self._prune()

    def _batch(self) -> list[Row]:
        batch: list[Row] = []
        end = time.monotonic() + self._flush_seconds
        while len(batch) < self._batch_rows and time.monotonic() < end:
            try:
                batch.append(self._waiting.get(timeout=min(0.2, self._flush_seconds)))
            except queue.Empty:
                if self._closing.is_set():
                    break
        return batch

    def _write(self, batch: list[Row]) -> None:
        try:
            self._write_rows(self._settings.folder, batch)
        except (OSError, pa.ArrowException) as error:  # a full disk, a folder that was removed and cannot be created
            self._count("failed", len(batch))
            logger.warning("%d predictions could not be logged in %s: %s", len(batch), self._settings.folder, error)
        else:
            self._count("written", len(batch))

    def _prune(self) -> None:
        try:
            settings = self._settings
            log_files.prune(settings.folder, settings.days, 1_000_000 * settings.megabytes, datetime.now(UTC).date())
        except OSError as error:
            logger.warning("old predictions in %s could not be removed: %s", self._settings.folder, error)
