"""Atomic file and folder writes."""

from __future__ import annotations

import glob
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from fer_pipeline.errors import ToolUnavailableError

METRICS_FILE = "metrics.json"
REPORT_FILE = "report.html"
"""The figures in a folder of results, and the page that shows them."""


@contextmanager
def replaced_file(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path for a file that replaces `target` when the block ends well.

    Readers see the old content or the new, never a part of it; any number of processes may write. When the block fails, the new
    file is removed and the old one stays. With `durable` the new content is on the disk before the old one goes. A process that
    was killed leaves its file, which `tidy` removes. The path is absolute: Arrow and FFmpeg take a relative one with a colon
    for a URI. Raises `OSError`.
    """
    target = target.absolute()
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.new-{os.getpid()}-{uuid.uuid4().hex[:12]}")
    try:
        yield aside
        if durable:
            with aside.open("rb") as stream:
                os.fsync(stream.fileno())
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def replaced_folder(target: Path, *, private: bool = False) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` when the block ends well.

    When the block fails, the new folder is removed and the old one stays. All that needs room on the disk comes before the end of
    the block, after which there are two renames. A `private` folder is for its owner alone (0700), and so are its files (0600).
    Its path is absolute, as that of `replaced_file`. Raises `ToolUnavailableError` where the place cannot be written.
    """
    target = target.absolute()
    tidy(target)
    old = _folder_beside(target, "old") / "content"
    aside = None
    try:
        aside = _folder_beside(target, "new")
        if not private:
            aside.chmod(0o755)  # other outputs are for everyone who may read the workspace
        yield aside
        if private:
            close_to_others(aside)
        if target.exists():
            os.replace(target, old)
        try:
            os.replace(aside, target)
        except BaseException:
            if old.exists():
                os.replace(old, target)
            raise
    except BaseException:
        if aside is not None:
            shutil.rmtree(aside, ignore_errors=True)
        raise
    finally:
        if target.exists() or not old.exists():  # else it is the only copy, which `tidy` of the next run brings back
            shutil.rmtree(old.parent, ignore_errors=True)


def tidy(target: Path) -> None:
    """Remove what killed writers left beside `target`.

    Writers are `replaced_file` and `replaced_folder`. Where one had moved the old folder away and put none in its place, the
    old one comes back.
    """
    for kind in ("old", "new"):
        for stale in target.parent.glob(f".{glob.escape(target.name)}.{kind}-*-*"):
            if psutil.pid_exists(int(stale.name.removeprefix(f".{target.name}.{kind}-").split("-")[0])):
                continue
            if kind == "old" and (stale / "content").exists() and not target.exists():
                os.replace(stale / "content", target)
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)


def write_text(target: Path, text: str) -> None:
    """Replace a text file (UTF-8) in one step. Raises `OSError`."""
    with replaced_file(target) as aside:
        aside.write_text(text, encoding="utf-8")


def write_json(target: Path, values: Any) -> None:
    """Replace a file by `values` as indented JSON in one step. Raises `OSError`."""
    write_text(target, json.dumps(values, indent=2) + "\n")


def private_folder(folder: Path) -> None:
    """Create a folder that only this user may open.

    Raises `ToolUnavailableError` where it cannot be made, or is there already and open to others.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise ToolUnavailableError(f"{folder} cannot be made ({error.strerror}): give it a writable parent folder") from error
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise ToolUnavailableError(f"{folder} is not private to this user: remove it, or choose another folder")


def close_to_others(folder: Path) -> None:
    """Give a folder and all in it to its owner alone: 0700, files 0600."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o700 if path.is_dir() else 0o600)


def _folder_beside(target: Path, kind: str) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{kind}-{os.getpid()}-", dir=target.parent))
    except OSError as error:
        raise ToolUnavailableError(
            f"{target.parent} cannot be written ({error.strerror}): free space, or change its owner or mode"
        ) from error
    return folder
