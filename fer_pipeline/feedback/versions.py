"""Accept, delete and purge corrections, each as a new data version.

The corrections are in data/feedback under DVC; params.yaml names their version.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from fer_pipeline.config.editing import write_values
from fer_pipeline.config.params import load_params
from fer_pipeline.data.fetch import accepted_feedback
from fer_pipeline.data.fetch.accepted_feedback import AcceptedCorrection
from fer_pipeline.errors import DataQualityError, FeedbackError
from fer_pipeline.feedback.corrections import INBOX_VARIABLE, Corrections
from fer_pipeline.feedback.erasure import erase_derived
from fer_pipeline.feedback.review import Review, Reviewed
from fer_pipeline.imaging import content_hash
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import close_to_others, replaced_folder, tidy, write_json
from fer_pipeline.workspace.layout import FEEDBACK, FEEDBACK_CHANGE, PARAMS


@dataclass(frozen=True)
class FeedbackVersion:
    """Version and number of the accepted corrections, and the changed ids."""

    version: str
    total: int
    ids: tuple[str, ...]


def accept(inbox: Corrections, root: Path, reviewed: Review, ids: Sequence[str] | None) -> FeedbackVersion:
    """Accept corrections as training data, in a new version of data/feedback.

    The next fetch adds them to the source. `ids` names the corrections, also those with doubts; None accepts all that pass.
    Raises `FeedbackError` where an id is not pending with an image, `DataQualityError` where one failed a check of severity
    error, `SourceError` where data/feedback does not hold the version of params.yaml; nothing is changed then.
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
    images = {one.id: (root / FEEDBACK / one.file).read_bytes() for one in held}
    added = []
    for item in chosen:
        assert item.correction.picture is not None
        images[item.correction.id] = item.correction.picture
        added.append(_accepted(item, now))
    version = publish(root, [*held, *added], images) if added else accepted_feedback.version_of(held)
    for item in chosen:
        inbox.accept(item.correction)
    return FeedbackVersion(version, len(held) + len(added), tuple(one.id for one in added))


def delete(inbox: Corrections, root: Path, ids: Iterable[str]) -> FeedbackVersion:
    """Delete corrections by their receipts, pending or accepted, and from DVC's cache.

    A change that a killed command change is finished first. `ids` of the result are those that were accepted. Raises
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
        images = {one.id: (root / FEEDBACK / one.file).read_bytes() for one in held}
        version = publish(root, kept, images, {one.id: _md5(images[one.id]) for one in removed})
    for one in wanted:
        inbox.forget(one)
    return FeedbackVersion(version, len(kept), tuple(one for one in wanted if one in finished or one in accepted))


def purge(inbox: Corrections, root: Path) -> FeedbackVersion:
    """Delete the accepted corrections that people withdrew on the service.

    A change that a killed command change is finished first. Raises `FeedbackError` where corrections were accepted and the inbox
    knows none of them: withdrawals are then recorded in another inbox.
    """
    finished = settle(inbox, root)
    held = _held(root)
    if held and not any(inbox.knows(one.id) for one in held):
        raise FeedbackError(
            f"{root / FEEDBACK} holds {len(held):,} accepted corrections, and {inbox.folder} knows none of them, so it "
            f"is unknown which were withdrawn: set {INBOX_VARIABLE}, also for the worker of Prefect, to the folder that "
            "the service keeps corrections in (`fer feedback purge --inbox FOLDER` does it at once); where no service runs, "
            "pause the deployment"
        )
    withdrawn, _ = inbox.read("withdrawn")
    done = delete(inbox, root, [one.id for one in withdrawn])
    return replace(done, ids=tuple(dict.fromkeys([*finished, *done.ids])))


def settle(inbox: Corrections, root: Path) -> tuple[str, ...]:
    """Finish a killed change of data/feedback, and return the ids that it deleted.

    The change is read from the file that `publish` wrote (`layout.FEEDBACK_CHANGE`). Without that file, a version that differs
    from params.yaml is intended, as after `git checkout` of an earlier commit: nothing is changed, and `SourceError` raised
    where the corrections are read next.
    """
    if (root / FEEDBACK).exists() and (root / FEEDBACK).stat().st_mode & 0o077:  # of `dvc pull`, or an earlier version
        close_to_others(root / FEEDBACK)
        dvc.close_cache(root)
    change_file = root / FEEDBACK_CHANGE
    finished: tuple[str, ...] = ()
    if change_file.exists():
        tidy(root / FEEDBACK)
        change = json.loads(change_file.read_text(encoding="utf-8"))
        held = accepted_feedback.read(root / FEEDBACK)
        held_version = accepted_feedback.version_of(held)
        if (held_version, load_params(root / PARAMS).fetch.feedback) == (change["to"], change["from"]):
            dvc.track(root, root / FEEDBACK)
            write_values(root / PARAMS, {"fetch.feedback": held_version})
        forgotten = change.get("forget", {})
        _erase(root, forgotten)
        finished = tuple(one for one in forgotten if one not in {kept.id for kept in held})
        for one in finished:
            inbox.forget(one)
        change_file.unlink()
    there = {one.id for one in _held(root)}
    for correction in inbox.read("pending")[0]:
        if correction.id in there:
            inbox.accept(correction)
    return finished


def publish(
    root: Path, corrections: Sequence[AcceptedCorrection], images: Mapping[str, bytes], forget: Mapping[str, str] | None = None
) -> str:
    """Replace data/feedback, track it with DVC, and set its version in params.yaml.

    Returns the version. `forget` maps receipts to the MD5 of images to remove from DVC's cache. The change is written to
    `layout.FEEDBACK_CHANGE` before anything else (versions before and after, and `forget`), so that `settle` can finish it.
    """
    target = root / FEEDBACK
    version = accepted_feedback.version_of(corrections)
    forgotten = dict(forget or {})
    write_json(root / FEEDBACK_CHANGE, {"from": load_params(root / PARAMS).fetch.feedback, "to": version, "forget": forgotten})
    with replaced_folder(target, private=True) as folder:
        accepted_feedback.write(folder, corrections, images)
    dvc.close_cache(root)
    dvc.track(root, target)
    close_to_others(target)
    write_values(root / PARAMS, {"fetch.feedback": version})
    _erase(root, forgotten)
    (root / FEEDBACK_CHANGE).unlink()
    return version


def _erase(root: Path, forgotten: Mapping[str, str]) -> None:
    """Remove images and what was made of them.

    Those that data/feedback still holds are kept.
    """
    if forgotten:
        files = [*(root / FEEDBACK).rglob("*.png")]
        held = {_md5(file.read_bytes()) for file in files}
        dvc.forget(root, [one for one in forgotten.values() if one not in held])
        erase_derived(root, forgotten.keys() - {file.stem for file in files})


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
    return accepted_feedback.checked(root / FEEDBACK, load_params(root / PARAMS).fetch.feedback)


def _check_all(ids: Iterable[str], is_there: Callable[[str], bool]) -> None:
    unknown = [one for one in ids if not is_there(one)]
    if unknown:
        raise FeedbackError(f"no such correction: {', '.join(unknown)[:400]}; nothing was changed. `fer feedback list` names all")
