from __future__ import annotations

import shutil

import numpy as np
import pytest

from fer_pipeline.errors import DataQualityError, FeedbackError, SourceError
from fer_pipeline.feedback import versions
from fer_pipeline.imaging import perceptual_hash
from tests.feedback.correcting import BOUNDS, Workspace, face, verdicts


def test_a_correction_with_faults_cannot_be_accepted(workspace: Workspace) -> None:
    """Each fault of a correction is named and cannot be accepted."""
    workspace.give(face(20))
    workspace.accept()
    good, flat = workspace.give(face(21)), workspace.give(np.full((48, 48), 9, np.uint8))
    leak, mirrored = workspace.give(face(3)), workspace.give(np.ascontiguousarray(face(2)[:, ::-1]))
    known, again = workspace.give(face(1)), workspace.give(face(20))
    wrong_size = workspace.give(face(24)[:40])
    one, other = workspace.give(face(22), "fear"), workspace.give(face(22), "angry")
    first, second = sorted([workspace.give(face(23)), workspace.give(face(23))])  # of the same second, so ordered by id
    reviewed = workspace.reviewed()
    faults = {item.correction.id: [fault.split(":")[0] for fault in item.faults] for item in reviewed.items}
    assert faults[good] == faults[first] == []
    assert faults[flat][0] == "flat"
    assert faults[leak] == faults[mirrored] == ["leak"]
    assert (faults[known], faults[again]) == (["known"], ["accepted before"])
    assert "picture" in faults[wrong_size]
    assert all("contradicted" in faults[receipt] for receipt in (one, other))
    assert faults[second] == ["repeated"]
    before = workspace.version
    with pytest.raises(DataQualityError, match=f"{leak}: leak"):
        versions.accept(workspace.inbox, workspace.root, reviewed, [good, leak])
    assert workspace.version == before
    done = versions.accept(workspace.inbox, workspace.root, reviewed, None)
    assert set(done.ids) == {good, first}
    assert done.total == 3


def test_a_changed_copy_of_a_test_image_is_doubtful(workspace: Workspace) -> None:
    own = int(perceptual_hash(face(3)), 16)
    for level in range(1, 120):
        noise = np.random.default_rng(level).normal(0, level, (48, 48))
        changed = np.clip(face(3) + noise, 0, 255).astype(np.uint8)
        if 0 < (int(perceptual_hash(changed), 16) ^ own).bit_count() <= BOUNDS.max_hash_distance:
            break
    receipt = workspace.give(changed)
    (item,) = workspace.reviewed().items
    assert item.verdict == "doubtful"
    assert item.doubts[0].startswith("near a measured picture")
    assert workspace.accept().ids == ()  # --all-passing
    assert workspace.accept(receipt).ids == (receipt,)  # a person looked at it


def test_many_of_one_emotion_or_one_sender_are_doubtful(workspace: Workspace) -> None:
    """A flood of one emotion or one sender is left to a person."""
    few = BOUNDS.max_per_sender
    from_one = [workspace.give(face(30 + number), "fear", sender="a" * 12) for number in range(few + 1)]
    angry = [workspace.give(face(60 + number), "angry") for number in range(BOUNDS.share_from)]
    reviewed = workspace.reviewed()
    assert {verdicts(reviewed)[receipt] for receipt in (*from_one, *angry)} == {"doubtful"}
    assert workspace.accept().ids == ()
    for receipt in (*from_one[1:], *angry[5:]):
        workspace.inbox.delete(receipt)
    assert set(verdicts(workspace.reviewed()).values()) == {"passes"}


def test_labels_alone_and_damaged_files_are_not_accepted(workspace: Workspace) -> None:
    """Labels alone and damaged files are shown and never accepted."""
    alone = workspace.give(None)
    damaged, no_picture = workspace.give(face(5)), workspace.give(face(6))
    place = workspace.inbox.folder / "pending"
    (place / f"{damaged}.json").write_text('{"id": ')
    broken = (place / f"{no_picture}.json").read_text().replace("iVBOR", "AAAAA")
    (place / f"{no_picture}.json").write_text(broken)
    reviewed = workspace.reviewed()
    assert reviewed.items == ()
    assert [one.id for one in reviewed.labels_alone] == [alone]
    assert reviewed.damaged == tuple(sorted(f"pending/{receipt}.json" for receipt in (damaged, no_picture)))
    for receipt in (alone, no_picture):
        with pytest.raises(FeedbackError, match=receipt):
            workspace.accept(receipt)


def test_without_a_processed_table_nothing_is_accepted(workspace: Workspace) -> None:
    workspace.give(face(1))
    shutil.rmtree(workspace.processed)
    with pytest.raises(SourceError, match="run `fer run` first"):
        workspace.accept()
