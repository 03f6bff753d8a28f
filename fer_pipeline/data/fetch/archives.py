"""Read a folder, .zip, .tar or .tar.gz as a tree of files, without unpacking.

An archive that could do harm (names that lead out of it, links, far more content than its size explains) is refused as a whole.
"""

from __future__ import annotations

import gzip
import os
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final, TypeVar

from fer_pipeline.data.fetch.file_kinds import is_hidden, starts_with, unread_packer
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import IMAGE_SUFFIXES

MAX_MEMBERS: Final = 500_000
"""Most files in one archive or folder; FER-2013 as pictures has 35,887."""

MAX_UNPACKED_BYTES: Final = 16 * 2**30
"""Most bytes an archive may unpack to; FER-2013 as CSV has 0.3 GB."""

MAX_RATIO: Final = 100
"""Most unpacked bytes per packed byte, counted over the whole archive; FER-2013 as CSV has 4."""

RATIO_FREE_BYTES: Final = 64 * 2**20
"""An archive that unpacks to no more than this is not judged by its ratio: tiny or flat pictures pack very well."""

DAMAGE: Final = (EOFError, OSError, zlib.error, zipfile.BadZipFile, tarfile.TarError, NotImplementedError)
"""What reading a damaged file or archive member raises."""

_ZIP: Final = b"PK"
"""First bytes of a zip."""

Info = TypeVar("Info")


@dataclass(frozen=True)
class Tree:
    """Files of one folder or archive.

    `sizes` maps the names (posix, relative, sorted) to unpacked bytes; `open` opens one file by name.
    """

    origin: Path
    sizes: Mapping[str, int]
    open: Callable[[str], IO[bytes]]

    def place(self, name: str) -> str:
        """Return where a file is, for messages: "faces.zip/train.csv"."""
        return str(self.origin) if name == self.origin.name else f"{self.origin}/{name}"


@contextmanager
def open_tree(path: Path) -> Iterator[Tree]:
    """Open a folder, an archive or a single file as a tree.

    Hidden and system files are left out. Raises `SourceError` where the path is missing or unreadable, or the archive is
    damaged, encrypted, too large, or holds names that lead out of it or links.
    """
    with ExitStack() as stack:
        try:
            tree = _opened(path, stack)
        except FileNotFoundError as error:
            missing = error.filename or path
            raise SourceError(f"{missing} does not exist: check the path, and that DVC has brought it (`dvc pull`)") from error
        except PermissionError as error:
            raise SourceError(f"{error.filename} cannot be read ({error.strerror}): change its mode or owner") from error
        except UnicodeDecodeError as error:
            raise SourceError(
                f"{path} holds the name {error.object!r}, which is no UTF-8 although the archive says so: unpack it and give the "
                "folder"
            ) from error
        except DAMAGE as error:
            raise SourceError(f"{path} is a damaged or incomplete archive ({error}): download or copy it again") from error
        yield tree


def unpacked_limit(packed_bytes: int) -> int:
    """Return the most bytes that a file of `packed_bytes` may unpack to."""
    return min(MAX_UNPACKED_BYTES, max(RATIO_FREE_BYTES, MAX_RATIO * packed_bytes))


def _opened(path: Path, stack: ExitStack) -> Tree:
    if path.is_dir():
        return _folder_tree(path)
    _check_regular(path, path.stat().st_mode)
    if starts_with(path, _ZIP):
        return _zip_tree(path, stack.enter_context(zipfile.ZipFile(path)))
    if _is_tar(path):
        stream = stack.enter_context(_tar_file(path))
        return _tar_tree(path, stack.enter_context(tarfile.open(fileobj=stream, mode="r:")))
    if packer := unread_packer(path):
        raise SourceError(
            f"{path} is packed as {packer}, which is not read: unpack it and give the folder, or pack it as .zip or .tar.gz"
        )
    return Tree(path, {path.name: path.stat().st_size}, lambda _: path.open("rb"))


def is_packed(path: Path) -> bool:
    """Return whether a file is a .zip, .tar or .tar.gz by its content."""
    return starts_with(path, _ZIP) or _is_tar(path)


def _is_tar(path: Path) -> bool:
    """Whether a file, unpacked where it is gzip, starts with a tar header."""
    try:
        with gzip.open(path) if starts_with(path, b"\x1f\x8b") else path.open("rb") as stream:
            return stream.read(512)[257:262] == b"ustar"
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return False


def _check_regular(file: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):  # to read a pipe would wait for its writer, to read a device may never end
        raise SourceError(f"{file} is a pipe, socket or device, expected a file: remove it, or copy its content into a file")


def _folder_tree(folder: Path) -> Tree:
    sizes: dict[str, int] = {}
    seen: set[str] = set()
    for place, folders, files in os.walk(folder, followlinks=True, onerror=_fail):  # DVC may put links in place of files
        if (real := os.path.realpath(place)) in seen:
            raise SourceError(f"{place} leads back to a folder that was read before ({real}): remove the link")
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name)]
        for file in (Path(place, name) for name in files if not is_hidden(name)):
            status = file.stat()
            _check_regular(file, status.st_mode)
            sizes[file.relative_to(folder).as_posix()] = status.st_size
            if len(sizes) > MAX_MEMBERS:
                raise SourceError(f"{folder} holds more than {MAX_MEMBERS:,} files: give the folder of the faces alone")
    return Tree(folder, dict(sorted(sizes.items())), lambda name: (folder / name).open("rb"))


def _fail(error: OSError) -> None:
    raise error


def _zip_tree(path: Path, packed: zipfile.ZipFile) -> Tree:
    def listed() -> Iterator[tuple[str, int, zipfile.ZipInfo]]:
        for info in packed.infolist():
            if info.flag_bits & 0x1:
                raise SourceError(f"{path} is encrypted ({info.filename}): unpack it yourself and give the folder")
            if stat.S_ISLNK(info.external_attr >> 16):
                raise SourceError(f"{path} holds a link ({info.filename}): pack the files themselves")
            if not info.is_dir():
                yield info.filename, info.file_size, info

    members = _checked(path, listed())
    return Tree(path, {name: info.file_size for name, info in members.items()}, lambda name: packed.open(members[name]))


def _tar_tree(path: Path, tar: tarfile.TarFile) -> Tree:
    members = _checked(path, _tar_members(path, tar))

    def open_member(name: str) -> IO[bytes]:
        stream = tar.extractfile(members[name])
        assert stream is not None  # only a folder or a link has none, and neither is a member here
        return stream

    return Tree(path, {name: info.size for name, info in members.items()}, open_member)


def _tar_members(path: Path, tar: tarfile.TarFile) -> Iterator[tuple[str, int, tarfile.TarInfo]]:
    for info in tar:
        if not (info.isfile() or info.isdir()):
            raise SourceError(f"{path} holds a link or device ({info.name}): pack the files themselves")
        if info.isfile():
            yield info.name, info.size, info


@contextmanager
def _tar_file(path: Path) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """Yield the tar inside a file, packed by gzip or not.

    It is unpacked to a temporary file without a name where reading its images in the order of their names would seek back in
    the gzip stream, which unpacks from the start again.
    """
    if not starts_with(path, b"\x1f\x8b"):
        with path.open("rb") as plain:
            yield plain
        return
    with gzip.open(path) as stream:
        with tarfile.open(fileobj=stream, mode="r:") as tar:
            members = _checked(path, _tar_members(path, tar))
        stream.seek(0)
        starts = [info.offset for info in members.values()]
        if starts == sorted(starts) or not any(name.lower().endswith(IMAGE_SUFFIXES) for name in members):
            yield stream
            return
        with tempfile.TemporaryFile() as spool:
            left = unpacked_limit(path.stat().st_size)
            while block := stream.read(2**20):
                left -= len(block)
                if left < 0:
                    raise SourceError(_too_large(path))
                spool.write(block)
            spool.seek(0)
            yield spool


def _checked(path: Path, listed: Iterable[tuple[str, int, Info]]) -> dict[str, Info]:
    limit = unpacked_limit(path.stat().st_size)
    members: dict[str, Info] = {}
    total = 0
    for count, (found, size, info) in enumerate(listed, start=1):
        name = PurePosixPath(found.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match("[A-Za-z]:", found):
            raise SourceError(f"{path} holds the name {found!r}, which leads out of the archive: do not trust it; pack it anew")
        total += size
        if total > limit:
            raise SourceError(_too_large(path))
        if count > MAX_MEMBERS:
            raise SourceError(f"{path} holds more than {MAX_MEMBERS:,} files: pack the faces alone")
        if str(name) in members:
            raise SourceError(f"{path} holds {found!r} twice: pack it anew")
        if not is_hidden(str(name)):
            members[str(name)] = info
    return dict(sorted(members.items()))


def _too_large(path: Path) -> str:
    size = path.stat().st_size
    return (
        f"{path} ({size:,} bytes) unpacks to more than {unpacked_limit(size):,} bytes (limits: {MAX_UNPACKED_BYTES:,} bytes, "
        f"{MAX_RATIO} times its size): if you trust it, unpack it yourself and give the folder"
    )
