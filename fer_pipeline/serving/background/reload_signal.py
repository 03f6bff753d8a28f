"""How the workers of one service tell each other to load the model's folder anew: a file in the folder that they share."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.files import private_folder, write_text

LISTEN_SECONDS = 1.0
"""How often a worker looks whether one has called: the time of change of one file."""


class ReloadCall:
    """One worker's end. What was called before it was made is no news to it: make it before the model is read."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the same for all workers of the service; it need not exist, and may be removed meanwhile."""
        self._file = folder / "reload"
        self._known = self._mark()

    def make(self) -> None:
        """Calls all workers, this one among them. Raises `ToolUnavailableError` where the folder cannot be written."""
        private_folder(self._file.parent)
        try:
            write_text(self._file, "")
        except OSError as error:
            raise ToolUnavailableError(
                f"{self._file} cannot be written ({error.strerror}): free some room, or set TMPDIR"
            ) from error

    def heard(self) -> bool:
        """Whether a worker has called since this was last asked."""
        mark = self._mark()
        if mark is None or mark == self._known:
            return False
        self._known = mark
        return True

    def _mark(self) -> tuple[int, int] | None:
        try:
            facts = self._file.stat()
        except OSError:
            return None
        return facts.st_ino, facts.st_mtime_ns
