"""Writes outputs aside and moves them into place, so that a failed or killed run leaves what was there before."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
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
def replaced_folder(target: Path) -> Iterator[Path]:
    """An empty folder beside `target` that takes its place when the block ends well, and is removed when it fails.

    All that needs room on the disk comes before the end of the block, after which there are two renames. Raises
    `ToolUnavailableError` where the place cannot be written.
    """
    tidy(target)
    old = _folder_beside(target, "old") / "content"
    aside = None
    try:
        aside = _folder_beside(target, "new")
        yield aside
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
    """Clears what killed processes left beside the target; content that was moved aside and not replaced goes back."""
    for kind in ("old", "new"):
        for stale in target.parent.glob(f".{target.name}.{kind}-*-*"):
            if psutil.pid_exists(int(stale.name.removeprefix(f".{target.name}.{kind}-").split("-")[0])):
                continue
            if kind == "old" and (stale / "content").exists() and not target.exists():
                os.replace(stale / "content", target)
            shutil.rmtree(stale, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Writes a whole text file at once: readers see the old content or the new, never a part."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = target.with_name(f".{target.name}.{os.getpid()}.new")
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


def write_json(target: Path, values: Any) -> None:
    """Writes `values` as indented JSON, at once."""
    write_text(target, json.dumps(values, indent=2) + "\n")


def _folder_beside(target: Path, kind: str) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.{kind}-{os.getpid()}-", dir=target.parent))
        folder.chmod(0o755)  # mkdtemp makes it private, but outputs are for everyone who may read the workspace
    except OSError as error:
        raise ToolUnavailableError(
            f"{target.parent} cannot be written ({error.strerror}): free space, or change its owner or mode"
        ) from error
    return folder


def private_folder(folder: Path) -> None:
    """Makes the folder for this user alone. Raises `ToolUnavailableError` where another user owns it, or it cannot be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = folder.lstat()
    except OSError as error:
        raise ToolUnavailableError(f"{folder} cannot be made ({error.strerror}): give it a writable parent folder") from error
    if folder.is_symlink() or facts.st_uid != os.getuid() or facts.st_mode & 0o077:
        raise ToolUnavailableError(f"{folder} is not private to this user: remove it, or choose another folder")
