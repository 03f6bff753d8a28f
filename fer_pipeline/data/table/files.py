"""Lists of the files of tables that lie in a store.

The list is small and lies in the folder of the table, so DVC keeps its versions. The name of a file in the store holds a digest
of its content: no version overwrites the files of another one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

from fer_pipeline.data.storage import storage_location
from fer_pipeline.data.storage.location import StorageLocation
from fer_pipeline.errors import SourceError
from fer_pipeline.workspace.files import write_json

FILES_FILE: Final = "files.json"
"""List of the files of a table in a store: their folder, and name and bytes of each."""

_MAX_BYTES: Final = 1 << 28


def listed_files(folder: StorageLocation) -> list[StorageLocation] | None:
    """Return the files that the list in a folder names; None where it has no list.

    Raises `SourceError` where the list cannot be read.
    """
    file = folder.child(FILES_FILE)
    if file.look() is None:
        return None
    try:
        listed: dict[str, Any] = json.loads(file.read(_MAX_BYTES))
        place = storage_location(listed["folder"])
        return [place.child(str(entry["name"])) for entry in listed["files"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file.address} cannot be read as a list of files: {error!r}; run the stage that wrote it") from error


def write_list(folder: StorageLocation, place: StorageLocation, files: Iterable[tuple[str, int]]) -> None:
    """Write the list into a folder: names and bytes of the files in `place`."""
    entries = [{"name": name, "bytes": size} for name, size in sorted(files)]
    with folder.child(FILES_FILE).replaced() as aside:
        write_json(aside, {"folder": place.address, "files": entries})


def with_digest(name: str, digest: str) -> str:
    """Return the name of a file in a store: "part-00000-0123456789abcdef.parquet"."""
    return re.sub(r"(\.\w+)?$", rf"-{digest[:16]}\1", name, count=1)
