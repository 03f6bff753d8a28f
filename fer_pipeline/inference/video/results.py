"""Atomic replacement of the results of one video.

Results are written aside inside their folder and then replace the earlier ones. A run that is killed at any moment leaves the
earlier results, or the next run restores them; other files in the folder are never touched.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.video.summary import PEAKS, SUMMARY_FILE
from fer_pipeline.inference.video.writers import FILES, PARQUET_FILE
from fer_pipeline.workspace.files import REPORT_FILE

# The files by which readers recognize results are removed first and added last: in between the folder has neither.
_NAMES = (SUMMARY_FILE, REPORT_FILE, PARQUET_FILE, *FILES, PEAKS)
_NEW, _LEAVING, _LEFT = ".new", ".leaving", ".left"


def has_finished_results(folder: Path) -> bool:
    """Return whether a folder holds complete results, of any model and options."""
    try:
        return json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))["complete"] is True
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextmanager
def replaced_results(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose results replace those in `folder` at the end.

    They also replace them after an exception, unless that would replace complete results by incomplete ones. Raises
    `ToolUnavailableError` where the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tidy(folder)
        aside = _inside(folder, _NEW)
    except OSError as error:
        raise ToolUnavailableError(
            f"{folder} cannot be written ({error.strerror}): free space, change its owner or mode, or give another folder"
        ) from error
    try:
        try:
            yield aside
        finally:
            if has_finished_results(aside) or not has_finished_results(folder):
                _swap(folder, aside)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Remove what killed runs left in the folder; restore results they had moved away."""
    for kind in (_LEAVING, _LEFT, _NEW):
        for stale in folder.glob(f"{kind}-*-*"):
            process = stale.name.split("-")[1]
            if process.isdecimal() and psutil.pid_exists(int(process)):
                continue
            unfinished = kind == _LEFT and not (folder / SUMMARY_FILE).exists()
            if unfinished:
                _move(folder, stale.with_name(f"{_NEW}-0-{stale.name}"), _NAMES)
            if unfinished or kind == _LEAVING:
                _move(stale, folder, _NAMES)
            shutil.rmtree(stale, ignore_errors=True)


def _swap(folder: Path, aside: Path) -> None:
    before = _inside(folder, _LEAVING)
    _move(folder, before, _NAMES)
    left = before.with_name(before.name.replace(_LEAVING, _LEFT))
    os.replace(before, left)
    _move(aside, folder, _NAMES[::-1])
    shutil.rmtree(left)


def _move(source: Path, target: Path, names: tuple[str, ...]) -> None:
    target.mkdir(exist_ok=True)
    for name in names:
        if (source / name).exists():
            os.replace(source / name, target / name)


def _inside(folder: Path, kind: str) -> Path:
    return Path(tempfile.mkdtemp(prefix=f"{kind}-{os.getpid()}-", dir=folder))
