"""Review pending corrections: check them as one batch before acceptance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.config.params import FeedbackParams
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.errors import ImageError
from fer_pipeline.feedback.checks import BatchCheck, Candidate, check
from fer_pipeline.feedback.corrections import Correction, Corrections
from fer_pipeline.feedback.known_faces import KnownFaces
from fer_pipeline.imaging import UInt8Array, content_hash, decode, to_gray
from fer_pipeline.inference.quality import FaceQuality, measure
from fer_pipeline.workspace.layout import FEEDBACK


@dataclass(frozen=True)
class Reviewed:
    """A pending correction with its face, gray uint8 (48, 48).

    `faults` describes the checks of severity error that failed, `doubts` those of severity warning.
    """

    correction: Correction
    face: UInt8Array
    quality: FaceQuality
    faults: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Return whether no check failed."""
        return not self.faults and not self.doubts

    @property
    def verdict(self) -> str:
        """ "passes", "doubtful" (a person may accept it by its id) or "refused"."""
        return "refused" if self.faults else "doubtful" if self.doubts else "passes"


@dataclass(frozen=True)
class Review:
    """The pending corrections with an image, oldest first, and their checks.

    `labels_alone` are the corrections without an image, `damaged` the files that cannot be read.
    """

    items: tuple[Reviewed, ...]
    checks: tuple[BatchCheck, ...]
    labels_alone: tuple[Correction, ...]
    damaged: tuple[str, ...]


def review(inbox: Corrections, root: Path, processed: Path, params: FeedbackParams) -> Review:
    """Check the pending corrections as one batch, also against the processed table.

    Raises `SourceError` where there is no processed table.
    """
    accepted = accepted_feedback.read(root / FEEDBACK)
    pending, damaged = inbox.read("pending")
    faces: dict[str, UInt8Array] = {}
    for correction in pending:
        if correction.picture is not None:
            try:
                faces[correction.id] = to_gray(decode(correction.picture))
            except ImageError:
                damaged.append(f"pending/{correction.id}.json")
    with_face = [correction for correction in pending if correction.id in faces]
    batch = [Candidate(one.id, one.corrected, one.sender, faces[one.id]) for one in with_face]
    known = KnownFaces.read(processed, [content_hash(one.face) for one in batch])
    checks = check(batch, known, frozenset(one.content_hash for one in accepted), params)
    items = [
        Reviewed(
            correction,
            faces[correction.id],
            measure(faces[correction.id]),
            _sentences(checks, correction.id, "error"),
            _sentences(checks, correction.id, "warning"),
        )
        for correction in with_face
    ]
    labels_alone = tuple(one for one in pending if one.picture is None)
    return Review(tuple(items), tuple(checks), labels_alone, tuple(sorted(damaged)))


def _sentences(checks: Sequence[BatchCheck], receipt: str, severity: str) -> tuple[str, ...]:
    return tuple(
        f"{one.name}: observed {one.failed[receipt]}, expected {one.expected}"
        for one in checks
        if one.severity == severity and receipt in one.failed
    )
