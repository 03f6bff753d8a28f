"""Files of a file system that driver and executors share."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyarrow import fs

from fer_pipeline.data.storage.location import Entry, StorageLocation
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.workspace.files import replaced_file


@dataclass(frozen=True)
class LocalLocation(StorageLocation):
    """A local path.

    Does not use pyarrow's file system, which cannot list names that are not UTF-8.
    """

    path: Path

    @property
    def address(self) -> str:
        return str(self.path)

    @property
    def lock(self) -> Path:
        return self.path

    @property
    def arrow(self) -> tuple[fs.FileSystem, str]:
        return fs.LocalFileSystem(), str(self.path)

    def child(self, *names: str) -> LocalLocation:
        return LocalLocation(self.path.joinpath(*names))

    @property
    def parent(self) -> LocalLocation:
        return LocalLocation(self.path.parent)

    def look(self) -> Entry | None:
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise ToolUnavailableError(
                f"{self.path} cannot be accessed: {error.strerror}; change the mode of its folder"
            ) from error
        if self.path.is_dir():
            return Entry(self.path.name, True)
        return Entry(self.path.name, False, (status.st_size, status.st_mtime_ns))

    def entries(self) -> list[Entry]:
        try:
            with os.scandir(self.path) as found:
                return sorted(entry for entry in map(_entry, found) if entry is not None)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ToolUnavailableError(
                f"{self.path} cannot be listed: {error.strerror}; change its mode or leave it out"
            ) from error

    def open(self) -> BinaryIO:
        file = os.fdopen(os.open(self.path, os.O_RDONLY | os.O_NONBLOCK), "rb")  # a pipe would be waited for without end
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return file
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file", str(self.path))

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        try:
            with replaced_file(self.path) as aside:
                yield aside
        except OSError as error:
            raise ToolUnavailableError(
                f"{self.path} cannot be written ({error.strerror or error}): free space, or change owner or mode of its folder"
            ) from error

    def delete(self) -> None:
        self.path.unlink(missing_ok=True)


def _entry(found: os.DirEntry[str]) -> Entry | None:
    try:
        if found.is_dir():
            return None if found.is_symlink() else Entry(found.name, True)  # a link to a folder may be circular
        status = found.stat()
        return Entry(found.name, False, (status.st_size, status.st_mtime_ns))
    except OSError:  # deleted, or a broken link: reading it reports that
        return Entry(found.name, False)
