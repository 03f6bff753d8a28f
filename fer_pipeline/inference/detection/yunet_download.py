"""Download the YuNet face detector from OpenCV's model zoo, on request only."""

from __future__ import annotations

import hashlib
import os
import urllib.request
from http.client import HTTPException
from pathlib import Path

from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.inference.detection.yunet import YUNET_SHA256
from fer_pipeline.workspace.files import replaced_file
from fer_pipeline.workspace.homes import user_home
from fer_pipeline.workspace.layout import YUNET

YUNET_URL = (
    "https://github.com/opencv/opencv_zoo/raw/82b38c8f98e7b52aa171400f3e4c722352d0669f/"
    "models/face_detection_yunet/face_detection_yunet_2023mar.onnx"
)
"""The file at a fixed commit; 233 kB, MIT licence."""

_MAX_BYTES = 4_000_000
_SECONDS = 30.0


def fetch_yunet(target: Path, url: str = YUNET_URL) -> bool:
    """Download YuNet to `target`; return false if it is there already.

    The file is moved into place after its SHA-256 is checked, so that a failed download changes nothing. Raises
    `ToolUnavailableError` where it cannot be downloaded or stored, `ModelError` where the content differs.
    """
    if target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == YUNET_SHA256:
        return False
    content = _content(url, target)
    found = hashlib.sha256(content).hexdigest()
    if found != YUNET_SHA256:
        raise ModelError(
            f"{url} sent {len(content):,} bytes with SHA-256 {found}, face_detection_yunet_2023mar.onnx of opencv_zoo has "
            f"{YUNET_SHA256}: nothing was stored; try again, or give another address as --url"
        )
    _store(content, target)
    return True


def find_yunet() -> Path | None:
    """Return YuNet in the workspace, else in the user's data folder.

    None where there is none. The file is not checked: see `yunet.published_yunet`.
    """
    return next((known for known in (YUNET, user_yunet()) if known is not None and _is_there(known)), None)


def user_yunet() -> Path | None:
    """Return the path of YuNet's file in the user's data folder.

    That is XDG_DATA_HOME, or ~/.local/share; None where the user has no home.
    """
    home = user_home()
    data = os.environ.get("XDG_DATA_HOME") or (home / ".local" / "share" if home else None)
    return Path(data) / "fer-pipeline" / "face_detection_yunet_2023mar.onnx" if data else None


def _is_there(file: Path) -> bool:
    try:
        return file.is_file()
    except OSError:  # a folder above it may not be searched
        return False


def _content(url: str, target: Path) -> bytes:
    if not url.startswith(("https://", "http://")):
        raise ToolUnavailableError(f"{url} is not a web address: expected https:// or http://")
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            return bytes(answer.read(_MAX_BYTES))
    except (OSError, HTTPException, ValueError) as error:
        raise ToolUnavailableError(
            f"{url} cannot be fetched ({error}): check the network or proxy, give another address as --url, or download the "
            f"file elsewhere and put it at {target}; without it CenterFace finds the faces"
        ) from error


def _store(content: bytes, target: Path) -> None:
    try:
        with replaced_file(target) as aside:
            aside.write_bytes(content)
    except OSError as error:
        raise ToolUnavailableError(f"{target} cannot be written ({error.strerror}): give another path as --to") from error
