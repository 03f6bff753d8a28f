"""A workspace with corrections, for the tests of feedback."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from fer_pipeline import schemas
from fer_pipeline.cli.app import app as fer
from fer_pipeline.config.params import FeedbackParams, load_params
from fer_pipeline.feedback import review, versions
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.imaging import content_hash, encode_png, perceptual_hash

UInt8Array = npt.NDArray[np.uint8]


ROOT = Path(__file__).parents[2]


BOUNDS = FeedbackParams()


def face(seed: int) -> UInt8Array:
    return np.random.default_rng(seed).integers(0, 256, (48, 48), dtype=np.uint8)


def write_processed(folder: Path, faces: list[tuple[UInt8Array, str]]) -> None:
    rows = []
    for row, (gray, split) in enumerate(faces):
        flags = dict.fromkeys(("in_train", "near_in_train", "conflicting", "flat", "low_contrast", "augmented"), False)
        numbers = {"row": row, "label": 0, "copies": 1, "copy_rank": 0, "brightness": 0.0, "contrast": 0.0}
        hashes = {"content_hash": content_hash(gray), "perceptual_hash": perceptual_hash(gray)}
        words = {"id": f"{row:08d}", "name": f"n{row}", "usage": split, "split": split, "votes": None}
        rows.append({**flags, **numbers, **hashes, **words, "image": gray.tobytes()})
    (folder / "faces").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schemas.PROCESSED), folder / "faces" / "part-00000.parquet")


def write_csv(target: Path, rows: list[tuple[int, str | None]]) -> None:
    """A CSV of faces by seed, with or without a usage."""
    has_usage = any(usage for _, usage in rows)
    lines = ["emotion,pixels,Usage" if has_usage else "emotion,pixels"]
    for seed, usage in rows:
        lines.append(f"{seed % 7},{' '.join(map(str, face(seed).ravel()))}" + (f",{usage}" if has_usage else ""))
    target.write_text("\n".join(lines))


class Workspace:
    """A repository under DVC with a processed table, and a folder of corrections."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inbox = Corrections(root / "data" / "feedback-inbox")
        self.processed = root / "data" / "processed"

    def give(self, gray: UInt8Array | None, corrected: str = "sad", *, sender: str = "", days: float = 30) -> str:
        now = datetime.now(UTC).replace(microsecond=0)
        receipt = secrets.token_hex(16)
        correction = Correction(
            id=receipt,
            time=now,
            expires=now + timedelta(days=days),
            network="brightness",
            version="0123456789ab",
            answered="happy",
            confidence=0.5,
            corrected=corrected,
            sender=sender or receipt[:12],
            picture=None if gray is None else encode_png(gray),
            size=None if gray is None else 48.0,
        )
        assert self.inbox.put(correction)
        return receipt

    def reviewed(self) -> review.Review:
        return review.review(self.inbox, self.root, self.processed, BOUNDS)

    def accept(self, *ids: str) -> versions.FeedbackVersion:
        return versions.accept(self.inbox, self.root, self.reviewed(), ids or None)

    @property
    def version(self) -> str:
        return load_params(self.root / "params.yaml").fetch.feedback

    def cached(self, data: bytes) -> bool:
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        return (self.root / ".dvc" / "cache" / "files" / "md5" / digest[:2] / digest[2:]).exists()


def run(*arguments: str, code: int = 0, feed: str | None = None) -> str:
    result = CliRunner().invoke(fer, ["feedback", *arguments], input=feed)
    assert result.exit_code == code, (result.output, result.exception)
    return result.output


def verdicts(found: review.Review) -> dict[str, str]:
    return {item.correction.id: item.verdict for item in found.items}
