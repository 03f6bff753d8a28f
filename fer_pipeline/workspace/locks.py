"""Lock a folder for one writer; the lock ends with its process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from fer_pipeline.errors import ToolUnavailableError, WorkspaceBusyError


@contextmanager
def exclusive(target: Path, purpose: str, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lock of `target` while the block runs.

    The lock is `.NAME.lock` beside it; the kernel frees it if the process dies. Raises `WorkspaceBusyError`, naming the holder,
    where it is still taken after `wait_seconds` (-1: waits for ever), and `ToolUnavailableError` where the folder cannot be
    written.
    """
    name = target.name.lstrip(".")
    holder_file = target.with_name(f".{name}.holder.json")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(target.with_name(f".{name}.lock"), timeout=wait_seconds)
        lock.acquire()
    except Timeout as error:
        raise WorkspaceBusyError(
            f"{target} is in use by {_holder(holder_file)}: give the command again when that has ended, or stop it with kill"
        ) from error
    except OSError as error:
        raise ToolUnavailableError(f"{target.parent} cannot be written ({error.strerror}): change its owner or mode") from error
    try:
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        holder_file.write_text(json.dumps({"pid": os.getpid(), "purpose": purpose, "since": since}), encoding="utf-8")
        yield
    finally:
        holder_file.unlink(missing_ok=True)
        lock.release()


def holder(target: Path) -> str | None:
    """Return who holds the lock of `target`, by the note that the holder left.

    None where nobody does, or the holder has died.
    """
    try:
        note = json.loads(target.with_name(f".{target.name.lstrip('.')}.holder.json").read_text(encoding="utf-8"))
        return f"{note['purpose']}, process {note['pid']}, since {note['since']}" if psutil.pid_exists(note["pid"]) else None
    except (OSError, ValueError, KeyError):
        return None


def _holder(holder_file: Path) -> str:
    try:
        note = json.loads(holder_file.read_text(encoding="utf-8"))
        return f"process {note['pid']} ({note['purpose']}, since {note['since']})"
    except (OSError, ValueError, KeyError):  # the holder is between taking the lock and writing its name
        return "another process"
