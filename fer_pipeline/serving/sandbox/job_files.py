"""Files of a video's job in its private folder, and the folder of all jobs."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

from fer_pipeline.inference.video.summary import SUMMARY_FILE
from fer_pipeline.inference.video.writers import FILES, PARQUET_FILE
from fer_pipeline.workspace.files import REPORT_FILE, write_json

UPLOAD, RESULTS, STATE_FILE = "video", "results", "state.json"
OWNER, CLIENT, CANCEL, LOG, MODEL = "owner", "client", "cancel", "log", "model"
"""Names in the folder of a job.

`OWNER` holds the number of the service's process, `CLIENT` a hash of who sent the video; `CANCEL` exists once it is not wanted.
"""

UNFINISHED = ("queued", "running")
RESULT_FILES = (*FILES, PARQUET_FILE, SUMMARY_FILE, REPORT_FILE)

_NAME_VARIABLE = "FER_VIDEOS_NAME"  # random; set by the service itself


def name_shared_root() -> None:
    """Choose the name of the folder of videos for this process and its children.

    Another user who could guess it would make it first, and no video could be stored.
    """
    os.environ[_NAME_VARIABLE] = secrets.token_hex(8)


def shared_root() -> Path:
    """Return the folder that all workers of one service share.

    They have the same parent, which called `name_shared_root`. Removes the folders of services that are gone.
    """
    parent = Path(tempfile.gettempdir())
    prefix = f"fer-videos-{os.getuid()}-"
    for stale in parent.glob(f"{prefix}*"):
        number = stale.name.removeprefix(prefix).partition("-")[0]
        if number.isdecimal() and not _exists(int(number)) and not stale.is_symlink():
            shutil.rmtree(stale, ignore_errors=True)
    return parent / f"{prefix}{os.getppid()}-{os.environ[_NAME_VARIABLE]}"


def write_state(folder: Path, **values: Any) -> None:
    """Replace the state of a job, unless the job was deleted. Raises `OSError`."""
    with suppress(FileNotFoundError):  # deleted meanwhile
        write_json(folder / STATE_FILE, {"progress": None, "frames": 0, "faces": 0, "error": None, "files": [], **values})


def note_sender(folder: Path, client: str) -> None:
    """Note that this worker took the video of a job, from this address."""
    (folder / OWNER).write_text(str(os.getpid()))
    (folder / CLIENT).write_text(_hash(folder, client))


def is_of(folder: Path, client: str) -> bool:
    """Whether the video of a job came from this address."""
    try:
        return (folder / CLIENT).read_text() == _hash(folder, client)
    except OSError:
        return False


def _hash(folder: Path, client: str) -> str:
    return hashlib.blake2b(client.encode(), key=folder.name.encode(), digest_size=16).hexdigest()


def read_state(folder: Path) -> dict[str, Any]:
    """Return the state of a job; empty where there is none."""
    try:
        values: dict[str, Any] = json.loads((folder / STATE_FILE).read_text())
    except (OSError, ValueError):
        return {}
    return values


def is_alive(folder: Path) -> bool:
    """Whether the worker that supervises a job still runs."""
    try:
        return _exists(int((folder / OWNER).read_text()))
    except (OSError, ValueError):
        return False


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_id(name: str) -> bool:
    """Whether a name has the form of a job's id: 32 hexadecimal digits."""
    return len(name) == 32 and set(name) <= set("0123456789abcdef")
