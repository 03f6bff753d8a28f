"""Read and write the accepted corrections in data/feedback.

Each picture is a file of its own, PNG of 48x48 gray pixels in a folder named after the time of acceptance, so that one can be
deleted, from DVC's cache as well, without touching the others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import pyarrow.dataset as ds

from fer_pipeline.data.raw_table import RawRow
from fer_pipeline.errors import ImageError, SourceError
from fer_pipeline.imaging import content_hash, decode, to_gray
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.schemas import FEEDBACK_NAME, FEEDBACK_USAGE
from fer_pipeline.workspace.layout import FEEDBACK

INDEX_FILE: Final = "corrections.jsonl"
"""One line per accepted correction, ordered by `file`."""

NO_VERSION: Final = "none"
"""Version of a folder without corrections, and of no folder at all."""


@dataclass(frozen=True)
class AcceptedCorrection:
    """One image whose label a person corrected.

    `id` is the person's receipt; `given` and `accepted` are times such as "2026-11-21T08:15:00Z"; `answered` is what the model
    with the fingerprint `version` said, `emotion` what the person says; `content_hash` pins the picture.
    """

    id: str
    given: str
    accepted: str
    answered: str
    emotion: str
    network: str
    version: str
    content_hash: str

    @property
    def file(self) -> str:
        """Path of the picture in the folder, "20261121T081500Z/<id>.png"."""
        return f"{self.accepted.replace('-', '').replace(':', '')}/{self.id}.png"


def read(folder: Path) -> tuple[AcceptedCorrection, ...]:
    """Read the index of the folder; empty where there is no folder.

    Raises `SourceError` where it cannot be read.
    """
    index = folder / INDEX_FILE
    if not folder.exists():
        return ()
    try:
        lines = index.read_text(encoding="utf-8").splitlines()
        return tuple(AcceptedCorrection(**json.loads(line)) for line in lines)
    except (OSError, ValueError, TypeError) as error:
        raise SourceError(f"{index} cannot be read ({error}): `dvc checkout {FEEDBACK}.dvc` brings it back") from error


def write(folder: Path, corrections: Sequence[AcceptedCorrection], images: Mapping[str, bytes]) -> None:
    """Fill an empty folder; `images` are PNG files by id, one for each correction."""
    ordered = sorted(corrections, key=lambda correction: correction.file)
    for correction in ordered:
        target = folder / correction.file
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(images[correction.id])
    (folder / INDEX_FILE).write_text(_index(ordered), encoding="utf-8")


def version_of(corrections: Sequence[AcceptedCorrection]) -> str:
    """Return the first 12 hex digits of the SHA-256 of the index.

    The index holds the hash of each image. "none" without corrections.
    """
    if not corrections:
        return NO_VERSION
    ordered = sorted(corrections, key=lambda correction: correction.file)
    return hashlib.sha256(_index(ordered).encode()).hexdigest()[:12]


def checked(folder: Path, version: str) -> tuple[AcceptedCorrection, ...]:
    """Return the corrections, which must be of the version that params.yaml names.

    Raises `SourceError` where the folder holds another one.
    """
    corrections = read(folder)
    held = version_of(corrections)
    if held != version:
        raise SourceError(
            f"{folder} holds corrections of version {held}, fetch.feedback of params.yaml names {version}; nothing was changed. "
            f"Bring that version back (`dvc checkout {folder}.dvc`, after `dvc pull` where the cache lacks it), or return to the "
            f"commit that names {held} (`git checkout COMMIT -- params.yaml {folder}.dvc`); `fer feedback purge` finishes an "
            "acceptance that was killed"
        )
    return corrections


def rows(folder: Path, corrections: Sequence[AcceptedCorrection]) -> Iterator[RawRow]:
    """Yield one raw row per correction, of usage "Feedback".

    Its name is "feedback/<time>/<id>.png", with the time of acceptance and the id of the correction. Raises `SourceError` where
    a picture is missing, damaged or another one, or a label is none of the seven.
    """
    for correction in corrections:
        data = _image(folder, correction)
        if correction.emotion not in EMOTIONS:
            raise SourceError(f"{folder / INDEX_FILE} has the label {correction.emotion!r}, expected {', '.join(EMOTIONS)}")
        yield RawRow(name=f"{FEEDBACK_NAME}{correction.file}", emotion=correction.emotion, usage=FEEDBACK_USAGE, image=data)


def ids_in(raw: Path) -> frozenset[str]:
    """Return the ids of the corrections in the raw table; none without a table."""
    table = raw / "faces.parquet"
    if not table.exists():
        return frozenset()
    found = ds.dataset(table.absolute(), format="parquet").to_table(columns=["name"], filter=ds.field("usage") == FEEDBACK_USAGE)
    return frozenset(Path(name).stem for name in found["name"].to_pylist())


def _image(folder: Path, correction: AcceptedCorrection) -> bytes:
    path = folder / correction.file
    try:
        data = path.read_bytes()
        found = content_hash(to_gray(decode(data)))
    except (OSError, ImageError) as error:
        raise SourceError(f"{path} cannot be read ({error}): `dvc checkout {folder}.dvc` brings it back") from error
    if found != correction.content_hash:
        raise SourceError(f"{path} is another picture than the index says: `dvc checkout {folder}.dvc` brings it back")
    return data


def _index(ordered: Sequence[AcceptedCorrection]) -> str:
    return "".join(json.dumps(asdict(correction), sort_keys=True) + "\n" for correction in ordered)
