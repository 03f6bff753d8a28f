"""Find the faces of a batch of corrections in the processed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as ds

from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import SourceError


@dataclass(frozen=True)
class KnownFaces:
    """The faces of a batch that the processed table holds already.

    `train` and `measured` are the content hashes found in train, and in validation or test. `measured_perceptual` holds the
    perceptual hashes of all validation and test images, uint64 (N,).
    """

    train: frozenset[str]
    measured: frozenset[str]
    measured_perceptual: npt.NDArray[np.uint64]

    @classmethod
    def read(cls, processed: Path, hashes: Sequence[str]) -> KnownFaces:
        """Look up content hashes in the processed table.

        Of train only the matches are kept in memory. Raises `SourceError` where the table cannot be read.
        """
        own, train = ~ds.field("augmented"), ds.field("split") == "train"
        same = ds.field("content_hash").isin(pa.array(hashes, pa.string()))
        try:
            table = ProcessedTable.open(processed)
            found = table.columns(["split", "content_hash"], own & same).to_pylist()
            batches = table.batches(["perceptual_hash"], own & ~train)
            perceptual = [np.array([int(one, 16) for one in batch[0].to_pylist()], np.uint64) for batch in batches]
        except SourceError as error:
            raise SourceError(
                f"{error}; run `fer run` first, so that corrections can be compared with validation and test"
            ) from error
        return cls(
            frozenset(row["content_hash"] for row in found if row["split"] == "train"),
            frozenset(row["content_hash"] for row in found if row["split"] != "train"),
            np.unique(np.concatenate([np.array([], np.uint64), *perceptual])),
        )
