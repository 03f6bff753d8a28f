"""Keep what native code and child processes of a stage write to stderr in a log."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer_pipeline.workspace.layout import DVC_STAGES, LOGS

STAGES: Final = ("fetch", "preprocess", "validate", "train", "evaluate", "export", "card")
"""Commands whose libraries are kept quiet: TensorFlow and Spark's Java write lines that no user needs."""

_MAX_BYTES = 1_000_000  # of earlier runs; a longer log begins anew
_TAIL_LINES = 10
_DRAIN_SECONDS = 5.0  # for what was written last; a process that outlives its stage may hold the pipe open


@dataclass(frozen=True)
class StageLog:
    """Log of one stage; `start` is its size in bytes when this process began."""

    path: Path
    start: int

    def tail(self) -> str:
        """Return the last lines that were written since the start, at most 10."""
        with self.path.open("rb") as stream:
            stream.seek(self.start)
            return "\n".join(stream.read().decode(errors="replace").splitlines()[-_TAIL_LINES:])


def log_file(root: Path, stage: str) -> Path:
    """Return the log of a stage in a workspace."""
    return root / LOGS / f"{stage}.log"


def divert_stderr(stage: str) -> StageLog | None:
    """Send file descriptor 2 of this process to the log of a stage.

    `sys.stderr` goes where it went before: errors and progress stay visible, and what native code and child processes write is
    kept. None, and nothing changed, outside of a workspace or where the log cannot be written.
    """
    if not DVC_STAGES.exists():
        return None
    try:
        log = _open(log_file(Path(), stage))
    except OSError:  # the stage itself says that the disk is full or the folder not its own
        return None
    before = sys.stderr
    before.flush()
    shown = os.fdopen(os.dup(2), "w", buffering=1, encoding=before.encoding, errors=before.errors)
    os.dup2(log, 2)
    os.close(log)
    sys.stderr = shown
    return StageLog(log_file(Path(), stage), os.fstat(2).st_size)


@contextmanager
def captured_output(log: Path) -> Iterator[list[str]]:
    """Keep descriptors 1 and 2 from the terminal while the block runs.

    Child processes inherit both. Yields a list that holds the lines of descriptor 1 once the block has ended; the log gets both.
    Raises `OSError` where the log cannot be written.
    """
    import tempfile  # here, so that `fer --help` does not load it

    lines: list[str] = []
    kept = os.dup(1), os.dup(2)
    target = _open(log)
    with tempfile.TemporaryFile() as results:
        _flush()
        try:
            os.dup2(results.fileno(), 1)
            os.dup2(target, 2)
            yield lines
        finally:
            _flush()
            os.dup2(kept[0], 1)
            os.dup2(kept[1], 2)
            results.seek(0)
            written = results.read()
            os.write(target, written)
            lines += written.decode(errors="replace").splitlines()
            for descriptor in (*kept, target):
                os.close(descriptor)


@contextmanager
def forwarded_output(on_line: Callable[[str], object], *, echo: bool) -> Iterator[None]:
    """Hand each line that the block writes to descriptor 1 to a function.

    A thread calls it, and it must not write there. Child processes inherit the descriptor. With `echo` the output goes where it
    went before, too.
    """
    before = os.dup(1)
    reading, writing = os.pipe()
    _flush()
    os.dup2(writing, 1)
    os.close(writing)
    reader = threading.Thread(target=_forward, args=(reading, before if echo else None, on_line), daemon=True)
    reader.start()
    try:
        yield
    finally:
        _flush()
        os.dup2(before, 1)
        reader.join(_DRAIN_SECONDS)
        if not reader.is_alive():
            os.close(before)


def _forward(reading: int, echo: int | None, on_line: Callable[[str], object]) -> None:
    with open(reading, encoding="utf-8", errors="replace") as stream:
        for line in stream:
            if echo is not None:
                os.write(echo, line.encode())
            if text := line.rstrip():
                on_line(text)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _open(log: Path) -> int:
    log.parent.mkdir(parents=True, exist_ok=True)
    begin_anew = os.O_TRUNC if log.exists() and log.stat().st_size > _MAX_BYTES else 0
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | begin_anew, 0o666)
