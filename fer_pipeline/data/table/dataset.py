"""The rows of one split as numpy arrays."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import DataQualityError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS

_HASHED_ROWS = 4_096


@dataclass(frozen=True)
class FaceDataset:
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
        """Rows (N,) whose image has no copy in training and none earlier in this split."""
        unseen: npt.NDArray[np.bool_] = ~self.in_train & (self.copy_rank == 0)
        return unseen

    def rows(self, chosen: npt.NDArray[Any]) -> FaceDataset:
        """Select rows by position or by bool (N,); without soft labels."""
        names = ("images", "labels", "ids", "names", "copy_rank", "in_train")
        votes = None if self.votes is None else self.votes[chosen]
        return replace(self, **{name: getattr(self, name)[chosen] for name in names}, votes=votes, soft_labels=None)

    @property
    def fingerprint(self) -> str:
        """First 12 hex digits of a hash of images and labels, in order."""
        digest = hashlib.blake2b(np.ascontiguousarray(self.labels).tobytes(), digest_size=6)
        for start in range(0, len(self), _HASHED_ROWS):  # the images may exceed the memory
            digest.update(np.ascontiguousarray(self.images[start : start + _HASHED_ROWS]).data)
        return digest.hexdigest()
