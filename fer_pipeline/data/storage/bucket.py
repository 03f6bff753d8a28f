"""Objects of an object store, through pyarrow's clients."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import pyarrow as pa
from pyarrow import fs

from fer_pipeline.data.storage.location import Entry, StorageLocation
from fer_pipeline.errors import SourceError, ToolUnavailableError

SETTINGS: Final = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION and, for a store that is not Amazon's, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
}
"""For each scheme, the environment variables with keys and endpoints."""

_TRIES, _CONNECT_SECONDS, _RETRY_SECONDS = 5, 5, 30  # by default Google's client retries for 15 minutes


@dataclass(frozen=True)
class BucketLocation(StorageLocation):
    """An object of a bucket, or all objects below a name.

    The stores write objects atomically.
    """

    scheme: str
    key: str  # BUCKET or BUCKET/NAME

    @property
    def address(self) -> str:
        return f"{self.scheme}://{self.key}"

    @property
    def lock(self) -> Path:
        return Path(tempfile.gettempdir()) / f"fer-{os.getuid()}-{quote(self.address, safe='')[-150:]}"

    @property
    def arrow(self) -> tuple[fs.FileSystem, str]:
        return self._files(), self.key

    def child(self, *names: str) -> BucketLocation:
        return BucketLocation(self.scheme, "/".join((self.key, *names)))

    @property
    def parent(self) -> BucketLocation:
        return BucketLocation(self.scheme, self.key.rpartition("/")[0] or self.key)

    def look(self) -> Entry | None:
        with self._reported():
            info = self._files().get_file_info(self.key)
        return None if info.type == fs.FileType.NotFound else _entry(info)

    def entries(self) -> list[Entry]:
        with self._reported():
            found = self._files().get_file_info(fs.FileSelector(self.key, allow_not_found=True))
        if any(info.path.rstrip("/") == self.key for info in found):  # pyarrow would list the same folder endlessly
            raise SourceError(
                f"{self.address} holds objects whose name continues with an empty folder (//): rename or remove them"
            )
        return sorted(map(_entry, found))

    def walk(self) -> Iterator[tuple[str, StorageLocation, tuple[int, int]]]:
        if self.scheme == "s3":
            yield from super().walk()
            return
        # Google's client lists folders only in a recursive listing, which is then held in memory.
        with self._reported():
            found = self._files().get_file_info(fs.FileSelector(self.key, allow_not_found=True, recursive=True))
        files = {info.path.removeprefix(f"{self.key}/"): info for info in found if info.type == fs.FileType.File}
        for name in sorted(name for name in files if not re.search(r"(^|/)\.", name)):
            yield name, self.child(name), _entry(files[name]).mark

    def open(self) -> BinaryIO:
        with self._reported(gone=True):
            stream: BinaryIO = self._files().open_input_file(self.key)
        return stream

    def read(self, limit: int) -> bytes:
        with self._reported(gone=True):
            return super().read(limit)

    @contextmanager
    def replaced(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix="fer-upload-") as scratch:
            file = Path(scratch) / "content"
            yield file
            # In one call: pyarrow completes a stream whose writer fails between two calls, and half a file would be an object.
            content = pa.memory_map(str(file)).read_buffer() if file.stat().st_size else b""
            with self._reported(), self._files().open_output_stream(self.key, compression=None) as stream:
                stream.write(content)

    def delete(self) -> None:
        with suppress(FileNotFoundError), self._reported(gone=True):
            self._files().delete_file(self.key)

    def _files(self) -> fs.FileSystem:
        return _client(self.scheme, os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL"))

    @contextmanager
    def _reported(self, gone: bool = False) -> Iterator[None]:
        """Convert failures to `ToolUnavailableError`.

        With `gone`, keep `FileNotFoundError`.
        """
        try:
            yield
        except (OSError, ValueError) as error:
            if gone and isinstance(error, FileNotFoundError):
                raise
            cause = re.sub(r"^When .*?: (?=AWS Error)|\(Request ID: [^)]*\)", "", str(error), flags=re.DOTALL)
            cause = " ".join(cause.split())[:300].rstrip(". ")
            raise ToolUnavailableError(
                f"{self.address} could not be used: {cause}; expected a bucket that can be reached and rights for it: check "
                f"the network and {SETTINGS[self.scheme]} in the environment of each machine, and run again"
            ) from error


def _entry(info: fs.FileInfo) -> Entry:
    if info.type == fs.FileType.Directory:
        return Entry(info.base_name, True)
    return Entry(info.base_name, False, (info.size, info.mtime_ns))


@lru_cache
def _client(scheme: str, endpoint: str | None) -> fs.FileSystem:
    if scheme == "gs":
        return fs.GcsFileSystem(retry_time_limit=timedelta(seconds=_RETRY_SECONDS))
    retries = fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES)
    return fs.S3FileSystem(endpoint_override=endpoint, connect_timeout=_CONNECT_SECONDS, retry_strategy=retries)
