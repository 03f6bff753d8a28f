"""From a person's correction to training data: review, checks, acceptance as a data version, deletion."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import FeedbackParams, load
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.accepted_feedback import AcceptedCorrection
from fer_pipeline.errors import DataQualityError, FeedbackError, ImageError
from fer_pipeline.feedback.checks import BatchCheck, Candidate, KnownFaces, check
from fer_pipeline.feedback.corrections import INBOX_VARIABLE, Correction, Corrections
from fer_pipeline.imaging import UInt8Array, content_hash, decode, to_gray
from fer_pipeline.inference.quality import FaceQuality, measure
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import replaced_folder, tidy, write_json
from fer_pipeline.workspace.layout import FEEDBACK, FEEDBACK_CHANGE

"""There while data/feedback and params.yaml are being changed: from which version to which, and which pictures (MD5 by receipt)
DVC's cache must forget."""


@dataclass(frozen=True)
class Reviewed:
    """One pending correction with its face, gray uint8 (48, 48).

    `faults` are the checks of severity error that it broke, in words; `doubts` those of severity warning.
    """

    correction: Correction
    face: UInt8Array
    quality: FaceQuality
    faults: tuple[str, ...]
    doubts: tuple[str, ...]

    @property
    def passes(self) -> bool:
        """Whether it broke no check at all."""
        return not self.faults and not self.doubts

    @property
    def verdict(self) -> str:
        """ "passes", "doubtful" (a person may accept it by its id) or "refused"."""
        return "refused" if self.faults else "doubtful" if self.doubts else "passes"


@dataclass(frozen=True)
class Review:
    """The pending corrections with a picture, oldest first, and the outcome of each check on them as one batch.

    `labels_alone` are the corrections without a picture, `damaged` the files that cannot be read.
    """

    items: tuple[Reviewed, ...]
    checks: tuple[BatchCheck, ...]
    labels_alone: tuple[Correction, ...]
    damaged: tuple[str, ...]


@dataclass(frozen=True)
class FeedbackVersion:
    """The accepted corrections after a change: their version, how many they are, and the ids that the change was about."""

    version: str
    total: int
    ids: tuple[str, ...]


def review(inbox: Corrections, root: Path, processed: Path, params: FeedbackParams) -> Review:
    """Checks the pending corrections as one batch, against each other and against the processed table.

    Raises `SourceError` where there is no table to compare with.
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


def accept(inbox: Corrections, root: Path, reviewed: Review, ids: Sequence[str] | None) -> FeedbackVersion:
    """Makes corrections training data: a new version of data/feedback, which the next fetch joins to the source.

    `ids` names them (those with doubts, too), None means all that pass. Raises `FeedbackError` where an id is not pending with
    a picture, `DataQualityError` where one broke a check of severity error, `SourceError` where data/feedback does not hold the
    version of params.yaml; nothing is changed then.
    """
    known = {item.correction.id: item for item in reviewed.items}
    if ids is None:
        chosen = [item for item in reviewed.items if item.passes]
    else:
        _check_all(ids, lambda one: one in known)
        chosen = [known[one] for one in dict.fromkeys(ids)]
        refused = [f"{item.correction.id}: {'; '.join(item.faults)}" for item in chosen if item.faults]
        if refused:
            raise DataQualityError(f"{len(refused)} of the corrections cannot be accepted, nothing was: " + " | ".join(refused))
    now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    held = _held(root)
    pictures = {one.id: (root / FEEDBACK / one.file).read_bytes() for one in held}
    added = []
    for item in chosen:
        assert item.correction.picture is not None
        pictures[item.correction.id] = item.correction.picture
        added.append(_accepted(item, now))
    version = publish(root, [*held, *added], pictures) if added else accepted_feedback.version_of(held)
    for item in chosen:
        inbox.accept(item.correction)
    return FeedbackVersion(version, len(held) + len(added), tuple(one.id for one in added))


def delete(inbox: Corrections, root: Path, ids: Iterable[str]) -> FeedbackVersion:
    """Deletes corrections by their receipts, wherever they are: waiting, or in data/feedback and DVC's cache of it.

    What a killed command began is finished first. The answer names those that were accepted before. Raises
    `FeedbackError` where a receipt is unknown, `SourceError` where data/feedback does not hold the version of params.yaml;
    nothing is deleted then.
    """
    finished = settle(inbox, root)
    wanted = list(dict.fromkeys(ids))
    held = _held(root)
    accepted = {one.id for one in held}
    _check_all(wanted, lambda one: one in accepted or one in finished or inbox.knows(one))
    removed = [one for one in held if one.id in wanted]
    kept = [one for one in held if one.id not in wanted]
    version = accepted_feedback.version_of(held)
    if removed:
        pictures = {one.id: (root / FEEDBACK / one.file).read_bytes() for one in held}
        version = publish(root, kept, pictures, {one.id: _md5(pictures[one.id]) for one in removed})
    for one in wanted:
        inbox.forget(one)
    return FeedbackVersion(version, len(kept), tuple(one for one in wanted if one in finished or one in accepted))


def purge(inbox: Corrections, root: Path) -> FeedbackVersion:
    """Finishes what a killed command began, and carries out the deletions that people asked the service for after acceptance.

    Raises `FeedbackError` where corrections were accepted and the inbox knows none of them: what people took back is noted in
    another one then, and nothing to do here would look like nothing to do at all.
    """
    finished = settle(inbox, root)
    held = _held(root)
    if held and not any(inbox.knows(one.id) for one in held):
        raise FeedbackError(
            f"{root / FEEDBACK} holds {len(held):,} accepted corrections, and {inbox.folder} knows none of them, so nobody "
            f"can say which were taken back: set {INBOX_VARIABLE}, also for the worker of Prefect, to the folder that "
            "the service keeps corrections in (`fer feedback purge --inbox FOLDER` does it at once); where no service runs, "
            "pause the deployment"
        )
    withdrawn, _ = inbox.read("withdrawn")
    done = delete(inbox, root, [one.id for one in withdrawn])
    return replace(done, ids=tuple(dict.fromkeys([*finished, *done.ids])))


def settle(inbox: Corrections, root: Path) -> tuple[str, ...]:
    """Finishes a change of data/feedback that was killed, by the note that `publish` left; returns whom it took out by that.

    Without such a note a version that differs from that of params.yaml is somebody's choice, as after `git checkout` of an
    earlier commit: it is left alone, and `SourceError` raised by what reads the corrections next.
    """
    note = root / FEEDBACK_CHANGE
    finished: tuple[str, ...] = ()
    if note.exists():
        tidy(root / FEEDBACK)
        began = json.loads(note.read_text(encoding="utf-8"))
        held = accepted_feedback.read(root / FEEDBACK)
        held_version = accepted_feedback.version_of(held)
        if (held_version, load(root / "params.yaml").fetch.feedback) == (began["to"], began["from"]):
            dvc.track(root, root / FEEDBACK)
            write_values(root / "params.yaml", {"fetch.feedback": held_version})
        forgotten = began.get("forget", {})
        _forget_pictures(root, forgotten)
        finished = tuple(one for one in forgotten if one not in {kept.id for kept in held})
        for one in finished:
            inbox.forget(one)
        note.unlink()
    there = {one.id for one in _held(root)}
    for correction in inbox.read("pending")[0]:
        if correction.id in there:
            inbox.accept(correction)
    return finished


def publish(
    root: Path, corrections: Sequence[AcceptedCorrection], pictures: Mapping[str, bytes], forget: Mapping[str, str] | None = None
) -> str:
    """Makes these all that data/feedback holds, puts it under DVC, and names the version in params.yaml; returns it.

    `forget` names pictures by their MD5, for each the receipt, that DVC's cache then holds no more. All this is in the note
    before anything changes, so that `settle` can finish it: nothing else says afterwards what was taken out.
    """
    target = root / FEEDBACK
    version = accepted_feedback.version_of(corrections)
    forgotten = dict(forget or {})
    write_json(root / FEEDBACK_CHANGE, {"from": load(root / "params.yaml").fetch.feedback, "to": version, "forget": forgotten})
    with replaced_folder(target) as folder:
        accepted_feedback.write(folder, corrections, pictures)
    dvc.track(root, target)
    write_values(root / "params.yaml", {"fetch.feedback": version})
    _forget_pictures(root, forgotten)
    (root / FEEDBACK_CHANGE).unlink()
    return version


def _forget_pictures(root: Path, forgotten: Mapping[str, str]) -> None:
    """Takes pictures out of DVC's cache, but none that data/feedback holds: the change was not made, or two are equal."""
    if forgotten:
        held = {_md5(file.read_bytes()) for file in (root / FEEDBACK).rglob("*.png")}
        dvc.forget(root, [one for one in forgotten.values() if one not in held])


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _accepted(item: Reviewed, now: str) -> AcceptedCorrection:
    correction = item.correction
    return AcceptedCorrection(
        id=correction.id,
        given=correction.time.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        accepted=now,
        answered=correction.answered,
        emotion=correction.corrected,
        network=correction.network,
        version=correction.version,
        content_hash=content_hash(item.face),
    )


def _held(root: Path) -> tuple[AcceptedCorrection, ...]:
    return accepted_feedback.checked(root / FEEDBACK, load(root / "params.yaml").fetch.feedback)


def _check_all(ids: Iterable[str], is_there: Callable[[str], bool]) -> None:
    unknown = [one for one in ids if not is_there(one)]
    if unknown:
        raise FeedbackError(f"no such correction: {', '.join(unknown)[:400]}; nothing was changed. `fer feedback list` names all")


def _sentences(checks: Sequence[BatchCheck], receipt: str, severity: str) -> tuple[str, ...]:
    return tuple(
        f"{one.name}: observed {one.failed[receipt]}, expected {one.expected}"
        for one in checks
        if one.severity == severity and receipt in one.failed
    )
