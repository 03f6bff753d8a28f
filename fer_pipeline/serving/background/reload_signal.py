"""Reload signal between the workers of one service: a file in their shared folder."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.files import private_folder, write_text

LISTEN_SECONDS = 1.0
"""How often a worker looks for a signal: the modification time of one file."""


class ReloadSignal:
    """One worker's end of the signal.

    Make it before the model is read: signals sent before that do not count.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder that all workers of the service share.

        It need not exist, and may be removed meanwhile.
        """
        self._file = folder / "reload"
        self._known = self._stamp()

    def send(self) -> None:
        """Signal all workers, this one included.

        Raises `ToolUnavailableError` where the folder cannot be written.
        """
        private_folder(self._file.parent)
        try:
            write_text(self._file, "")
        except OSError as error:
            raise ToolUnavailableError(
                f"{self._file} cannot be written ({error.strerror}): free some room, or set TMPDIR"
            ) from error

    def received(self) -> bool:
        """Whether a worker has signalled since this was last asked."""
        stamp = self._stamp()
        if stamp is None or stamp == self._known:
            return False
        self._known = stamp
        return True

    def _stamp(self) -> tuple[int, int] | None:
        try:
            status = self._file.stat()
        except OSError:
            return None
        return status.st_ino, status.st_mtime_ns
