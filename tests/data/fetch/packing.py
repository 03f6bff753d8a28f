"""A small FER-2013 with FER+ votes, and the folders and archives that sources come in."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fer_pipeline.data.fetch.fetch import SourceMetadata
from fer_pipeline.labels import FERPLUS_COLUMNS

Fetched = Callable[..., tuple[SourceMetadata, list[dict[str, Any]]]]

PIXELS = " ".join(str(i % 256) for i in range(48 * 48))
FER2013 = f"emotion,pixels,Usage\n0,{PIXELS},Training\n3,{PIXELS},PublicTest\n6,{PIXELS},PrivateTest\n"
VOTES_HEADER = ",".join(("Usage", "Image name", *FERPLUS_COLUMNS))
VOTES = f"{VOTES_HEADER}\n" + "".join(
    f"{usage},{name},{votes}\n"
    for usage, name, votes in (
        ("Training", "fer0000000.png", "4,0,0,1,3,2,0,0,0,0"),
        ("PublicTest", "fer0028638.png", "0,10,0,0,0,0,0,0,0,0"),
        ("PrivateTest", "", "0,0,0,0,0,0,0,0,0,9"),
    )
)


def tree(root: Path, *names: str) -> Path:
    """A folder with files whose content is their own name."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, data in members.items():
            packed.writestr(name, data)
    return path


def tarred(path: Path, members: dict[str, bytes], kind: bytes = tarfile.REGTYPE) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix in (".gz", ".tgz") else "w") as packed:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type = len(data), kind
            if kind == tarfile.SYMTYPE:
                info.linkname = "/etc/passwd"
            packed.addfile(info, io.BytesIO(data))
    return path


def packed_as(form: str, folder: Path, name: str, data: bytes) -> Path:
    match form:
        case "plain":
            (folder / name).write_bytes(data)
            return folder / name
        case "gz":
            (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            return folder / f"{name}.gz"
        case "zip":
            return zipped(folder / "data.zip", {f"fer/{name}": data, "fer/README": b"about", "__MACOSX/fer/._x.csv": b"\0"})
        case "zip of gz":
            return zipped(folder / "data.zip", {f"{name}.gz": gzip.compress(data)})
        case "tar.gz":
            return tarred(folder / "data.tar.gz", {"fer/README": b"about", f"fer/{name}": data})
        case "tar":
            return tarred(folder / "data.tar", {f"./fer/{name}": data})
        case _:
            inner = folder / "inner"
            inner.mkdir()
            packed_as(form.removeprefix("folder with "), inner, name, data)
            return inner
