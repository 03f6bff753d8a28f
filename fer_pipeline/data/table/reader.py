"""Reads the processed table: parquet files of `records.PROCESSED` and the facts beside them, into numpy arrays."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
import pyarrow.dataset as ds

from fer_pipeline.data.table.arrays import read_pictures
from fer_pipeline.errors import DataQualityError, SourceError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.schemas import SPLITS

COLUMNS = ("id", "name", "usage", "label", "copy_rank", "in_train", "votes")
"""What is read of each row beside its picture."""

FACTS_FILE = "facts.json"
"""Beside the rows, what is known of their source."""

_HASHED_ROWS = 4_096


@dataclass(frozen=True)
class Faces:
    """The rows of one split, ordered by id.

    `images` uint8 (N, 48, 48, 1), `labels` int64 (N,) in 0..6, `ids` and `names` str (N,), `copy_rank` int32 (N,), `in_train`
    bool (N,), `votes` float32 (N, 10) in the order of `labels.FERPLUS_COLUMNS` with NaN rows where a row has none, or None
    where no row has votes. `usages` are the source's own words for these rows ("PrivateTest"), sorted; empty where it has none.
    `soft_labels` float32 (N, 7) are there in training rows whose labels are to be softened.
    """

    images: UInt8Array
    labels: npt.NDArray[np.int64]
    ids: npt.NDArray[np.str_]
    names: npt.NDArray[np.str_]
    copy_rank: npt.NDArray[np.int32]
    in_train: npt.NDArray[np.bool_]
    votes: npt.NDArray[np.float32] | None = None
    usages: tuple[str, ...] = ()
    soft_labels: npt.NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        n = len(self.labels)
        if self.images.shape != (n, FACE_SIZE, FACE_SIZE, 1) or self.images.dtype != np.uint8:
            raise DataQualityError(
                f"images have shape {self.images.shape} and dtype {self.images.dtype}, "
                f"expected uint8 ({n}, {FACE_SIZE}, {FACE_SIZE}, 1): run preprocess again"
            )
        wrong = np.setdiff1d(self.labels, np.arange(len(EMOTIONS)))
        if wrong.size:
            raise DataQualityError(f"labels hold {wrong.tolist()}, expected 0..{len(EMOTIONS) - 1}: run preprocess again")

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def unseen(self) -> npt.NDArray[np.bool_]:
        """True (N,) for rows whose picture has no copy in training and none earlier in this split."""
        unseen: npt.NDArray[np.bool_] = ~self.in_train & (self.copy_rank == 0)
        return unseen

    def rows(self, chosen: npt.NDArray[Any]) -> Faces:
        """The chosen rows, by position or by bool (N,); without soft labels."""
        names = ("images", "labels", "ids", "names", "copy_rank", "in_train")
        votes = None if self.votes is None else self.votes[chosen]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names}, votes=votes, soft_labels=None)

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of a hash that is equal for equal pictures and labels in equal order."""
        digest = hashlib.blake2b(np.ascontiguousarray(self.labels).tobytes(), digest_size=6)
        for start in range(0, len(self), _HASHED_ROWS):  # the pictures may exceed the memory
            digest.update(np.ascontiguousarray(self.images[start : start + _HASHED_ROWS]).data)
        return digest.hexdigest()


def load_split(processed: Path, split: str, memory: int | None = None) -> Faces:
    """The rows of `processed/faces/*.parquet` with this split, one of `records.SPLITS`.

    Pictures that take more than `memory` bytes (half of what is free, if None) lie in a temporary file beside `processed`, from
    which the system reads what is in use. Raises `SourceError` where the table is missing or unreadable, `DataQualityError` where
    the split is empty or a row damaged, `ToolUnavailableError` where that file has no room.
    """
    if split not in SPLITS:
        raise SourceError(f"no split {split!r}, expected one of {', '.join(SPLITS)}")
    folder = processed / "faces"
    if not folder.is_dir():
        raise SourceError(f"{folder} is missing: run `fer preprocess` first")
    try:
        dataset = ds.dataset(folder, format="parquet")
        rows = ds.field("split") == split
        scanned = dataset.to_table(columns=list(COLUMNS), filter=rows)
        order = pc.sort_indices(scanned["id"])
        places = np.empty(len(order), np.int64)
        places[order.to_numpy()] = np.arange(len(order))
        images = read_pictures(dataset, rows, scanned["id"], places, processed.parent, memory)
    except (OSError, ValueError) as error:
        raise SourceError(f"{folder} cannot be read as the processed table: {error}; run `fer preprocess` again") from error
    table = scanned.take(order)
    if not table.num_rows:
        raise DataQualityError(f"{folder} has no rows of split {split}: check the source and the shares in preprocess")
    return Faces(
        images=images,
        labels=table["label"].to_numpy().astype(np.int64),
        ids=np.array(table["id"].to_pylist(), dtype=np.str_),
        names=np.array(table["name"].to_pylist(), dtype=np.str_),
        copy_rank=table["copy_rank"].to_numpy().astype(np.int32),
        in_train=table["in_train"].to_numpy().astype(np.bool_),
        votes=_votes(table["votes"].to_pylist()),
        usages=tuple(sorted(set(table["usage"].drop_null().to_pylist()))),
    )


def content_hashes(processed: Path, split: str) -> dict[str, str]:
    """Content hash of each row of a split, by id. Raises `SourceError` where the table cannot be read."""
    try:
        dataset = ds.dataset(processed / "faces", format="parquet")
        table = dataset.to_table(columns=["id", "content_hash"], filter=ds.field("split") == split)
    except (OSError, ValueError) as error:
        raise SourceError(f"{processed} cannot be read as the processed table: {error}; run `fer preprocess`") from error
    return dict(zip(table["id"].to_pylist(), table["content_hash"].to_pylist(), strict=True))


def load_facts(processed: Path) -> dict[str, Any]:
    """The content of `processed/facts.json`, with at least `image_spec` and `source`. Raises `SourceError`."""
    path = processed / FACTS_FILE
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}; run `fer preprocess` first") from error
    return parse_facts(content, str(path))


def parse_facts(content: bytes, address: str) -> dict[str, Any]:
    """The same of the bytes of that file, which `address` names in errors."""
    try:
        facts = json.loads(content)
    except ValueError as error:
        raise SourceError(f"{address} cannot be read: {error}; run `fer preprocess` first") from error
    if not isinstance(facts, dict) or not {"image_spec", "source"} <= facts.keys():
        raise SourceError(f"{address} lacks image_spec or source: run `fer preprocess` again")
    return facts


def _votes(rows: list[list[int] | None]) -> npt.NDArray[np.float32] | None:
    width = next((len(row) for row in rows if row is not None), None)
    if width is None:
        return None
    return np.array([row if row is not None else [np.nan] * width for row in rows], dtype=np.float32)
