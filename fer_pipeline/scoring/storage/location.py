"""What a place can do, wherever it is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO, NamedTuple


class Entry(NamedTuple):
    """A file or folder that is there. `mark` changes with a file: its size, and its time in nanoseconds."""

    name: str
    is_folder: bool
    mark: tuple[int, int] = (-1, -1)


class StorageLocation(ABC):
    """A file or folder, there or not yet there. What fails raises `ToolUnavailableError`, unless a method says otherwise."""

    @property
    @abstractmethod
    def address(self) -> str:
        """What `storage_location` takes on every machine: an absolute path, or a URI."""

    @property
    @abstractmethod
    def lock(self) -> Path:
        """What to lock by `workspace.exclusive` against other processes of this machine that would write here."""

    @abstractmethod
    def child(self, *names: str) -> StorageLocation:
        """What lies below under these names."""

    @property
    @abstractmethod
    def parent(self) -> StorageLocation:
        """The folder around it; itself where there is none."""

    @abstractmethod
    def look(self) -> Entry | None:
        """What is there; None where nothing is."""

    @abstractmethod
    def entries(self) -> list[Entry]:
        """What lies in the folder, sorted by name; empty where there is none. Holds the names of this folder in memory."""

    @abstractmethod
    def open(self) -> BinaryIO:
        """The file's content, with random access. Raises `OSError` for local files, `FileNotFoundError` for both kinds."""

    @abstractmethod
    def replaced(self) -> AbstractContextManager[Path]:
        """A file to fill, which takes the place of this one at once where the block ends well."""

    @abstractmethod
    def delete(self) -> None:
        """Removes the file, where it is there."""

    def read(self, limit: int) -> bytes:
        """The first `limit` bytes of the file. Raises as `open` does."""
        with self.open() as stream:
            return stream.read(limit)

    def write(self, content: bytes) -> None:
        """Writes a whole file at once."""
        with self.replaced() as file:
            file.write_bytes(content)

    def walk(self) -> Iterator[tuple[str, StorageLocation, tuple[int, int]]]:
        """(path from here, place, mark) of all files below, in a fixed order; what is hidden is left out."""
        entries = [entry for entry in self.entries() if not entry.name.startswith(".")]
        for entry in sorted(entries, key=lambda entry: entry.is_folder):
            if not entry.is_folder:
                yield entry.name, self.child(entry.name), entry.mark
                continue
            for name, file, mark in self.child(entry.name).walk():
                yield f"{entry.name}/{name}", file, mark
