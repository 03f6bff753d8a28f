from __future__ import annotations

import os
from pathlib import Path

import pytest

from fer_pipeline.data.storage.local import LocalLocation


@pytest.mark.timeout(20)
@pytest.mark.attack
def test_a_pipe_named_like_a_picture_is_refused(tmp_path: Path) -> None:
    """Opening a pipe that nobody writes to would wait without end."""
    os.mkfifo(tmp_path / "face.png")
    with pytest.raises(OSError, match="no regular file"):
        LocalLocation(tmp_path / "face.png").open()
    (tmp_path / "face.jpg").write_bytes(b"content")
    with LocalLocation(tmp_path / "face.jpg").open() as file:
        assert file.read() == b"content"
