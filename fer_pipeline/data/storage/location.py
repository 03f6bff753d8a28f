"""Interface of a file or folder, in a file system or a bucket."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from pyarrow import fs


class Entry(NamedTuple):
    """An existing file or folder.

    `mark` identifies a version of a file: size, and modification time in nanoseconds.
    """

    name: str
    is_folder: bool
    mark: tuple[int, int] = (-1, -1)


class StorageLocation(ABC):
    """A file or folder that may exist.

    Failures raise `ToolUnavailableError` unless stated otherwise.
    """

    @property
    @abstractmethod
    def address(self) -> str:
        """Return the absolute path or URI, valid on every machine."""

    @property
    @abstractmethod
    def lock(self) -> Path:
        """Return the path to lock against other writers on this machine.

        For `workspace.locks.exclusive`.
        """

    @property
    @abstractmethod
    def arrow(self) -> tuple[fs.FileSystem, str]:
        """Return Arrow's file system and the path in it."""

    @abstractmethod
    def child(self, *names: str) -> StorageLocation:
        """Return the location of these names below this one."""

    @property
    @abstractmethod
    def parent(self) -> StorageLocation:
        """Return the parent folder; itself where there is none."""

    @abstractmethod
    def look(self) -> Entry | None:
        """Return the entry at this location; None where nothing exists."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """List the folder, sorted by name; empty where it does not exist.

        All names are in memory.
        """

    @abstractmethod
    def open(self) -> BinaryIO:
        """Open the file for random access.

        Raises `FileNotFoundError`, for local files any `OSError`.
        """

    @abstractmethod
    def replaced(self) -> AbstractContextManager[Path]:
        """Yield a path to write, which replaces this file when the block succeeds."""

    @abstractmethod
    def delete(self) -> None:
        """Remove the file if it exists."""

    def read(self, limit: int) -> bytes:
        """Read the first `limit` bytes of the file. Raises as `open` does."""
        with self.open() as stream:
            return stream.read(limit)

    def write(self, content: bytes) -> None:
        """Write a file atomically."""
        with self.replaced() as file:
            file.write_bytes(content)

    def walk(self) -> Iterator[tuple[str, StorageLocation, tuple[int, int]]]:
        """Iterate over (relative path, location, mark) of all files, in a fixed order.

        Hidden files and folders are skipped.
        """
        entries = [entry for entry in self.entries() if not entry.name.startswith(".")]
        for entry in sorted(entries, key=lambda entry: entry.is_folder):
            if not entry.is_folder:
                yield entry.name, self.child(entry.name), entry.mark
                continue
            for name, file, mark in self.child(entry.name).walk():
                yield f"{entry.name}/{name}", file, mark
