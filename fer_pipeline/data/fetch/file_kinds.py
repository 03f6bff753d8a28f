"""Recognise files of a source by their names and first bytes."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Final

from fer_pipeline.imaging import IMAGE_SUFFIXES

_UNREAD_FORMATS: Final = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
}
"""Formats that are refused by name, by the first bytes of a file."""

_UNREAD_ENDINGS: Final = {
    ".7z": "7z",
    ".rar": "rar",
    ".bz2": "bzip2",
    ".tbz2": "bzip2",
    ".xz": "xz",
    ".txz": "xz",
    ".zst": "zstd",
}
"""The same, by the endings of their names."""

_SYSTEM_NAMES: Final = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
"""Folders that macOS, Windows, Linux and network drives create, lower case."""


def is_image(name: str) -> bool:
    """Return whether a file is an image by its name."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def is_archive(name: str) -> bool:
    """Return whether a file is an archive by its name."""
    return name.lower().endswith((".zip", ".tar", ".tar.gz", ".tgz"))


def foreign_packer(name: str) -> str | None:
    """Return the packer of a file by its name, such as "7z", where it is not read."""
    return _UNREAD_ENDINGS.get(PurePosixPath(name).suffix.lower())


def is_hidden(name: str) -> bool:
    """Return whether a file is hidden, or made by an operating or network system."""
    parts = PurePosixPath(name).parts
    return any(part.startswith(".") or part.lower() in _SYSTEM_NAMES for part in parts) or parts[-1].lower() in (
        "thumbs.db",
        "desktop.ini",
    )


def unread_packer(path: Path) -> str | None:
    """Return the name of a packer whose files are not read, such as "7z"; else None."""
    return next((name for magic, name in _UNREAD_FORMATS.items() if starts_with(path, magic)), None)


def starts_with(path: Path, magic: bytes) -> bool:
    """Return whether the first bytes of a file are `magic`."""
    with path.open("rb") as stream:
        return stream.read(len(magic)) == magic
