from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fer_pipeline.errors import FeedbackError, ToolUnavailableError
from fer_pipeline.feedback.corrections import Correction, Corrections

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def correction(number: int = 0, *, days: int = 30, picture: bytes | None = b"png") -> Correction:
    return Correction(
        id=f"{number:032x}",
        time=NOW + timedelta(seconds=number),
        expires=NOW + timedelta(days=days),
        network="compact",
        version="0123456789ab",
        answered="uncertain",
        confidence=0.3,
        corrected="sad",
        sender="abcdef012345",
        picture=picture,
        size=None if picture is None else 80.0,
    )


def test_what_is_put_comes_back_oldest_first(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path / "inbox")
    given = [correction(2), correction(1, picture=None)]
    assert [corrections.put(one) for one in given] == [True, True]
    assert corrections.read("pending") == ([given[1], given[0]], [])
    assert corrections.count("pending") == 2


def test_an_id_is_taken_once_whatever_became_of_it(tmp_path: Path) -> None:
    corrections, one = Corrections(tmp_path), correction()
    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(corrections.put, [one] * 8)) == [False] * 7 + [True]
    corrections.accept(one)
    assert corrections.put(one) is False
    assert corrections.delete(one.id) == "withdrawn"
    assert corrections.put(one) is False
    corrections.forget(one.id)
    assert corrections.put(one) is True


def test_the_picture_is_gone_once_it_is_accepted(tmp_path: Path) -> None:
    corrections, one = Corrections(tmp_path), correction()
    corrections.put(one)
    corrections.accept(one)
    ((kept,), _) = corrections.read("accepted")
    assert (kept.id, kept.picture, kept.size) == (one.id, None, 80.0)
    assert [path.parent.name for path in tmp_path.rglob("*.json")] == ["accepted"]


def test_a_correction_deleted_during_acceptance_is_withdrawn(tmp_path: Path) -> None:
    """What was deleted while it was accepted counts as withdrawn."""
    corrections, one = Corrections(tmp_path), correction()
    corrections.put(one)
    assert corrections.delete(one.id) == "deleted"
    corrections.accept(one)
    assert [corrections.count(state) for state in ("pending", "accepted", "withdrawn")] == [0, 0, 1]


def test_only_what_waits_expires(tmp_path: Path) -> None:
    corrections = Corrections(tmp_path)
    for number, days in ((1, 1), (2, 1), (3, 9)):
        corrections.put(correction(number, days=days))
    corrections.accept(correction(1))
    assert corrections.expire(NOW + timedelta(days=1)) == 1
    assert [one.id for one in corrections.read("pending")[0]] == [correction(3).id]
    assert corrections.count("accepted") == 1


def test_what_a_killed_writer_left_goes_after_an_hour(tmp_path: Path) -> None:
    (tmp_path / "pending").mkdir()
    left = tmp_path / "pending" / ".x.json.0123.new"
    left.touch()
    corrections = Corrections(tmp_path)
    corrections.expire(NOW)
    assert left.exists()
    os.utime(left, (0, 0))
    corrections.expire(NOW)
    assert not left.exists()


def test_all_workers_have_one_key_that_only_the_owner_can_read(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: Corrections(tmp_path / "inbox").key(), range(8)))
    assert len(keys) == 1
    assert (tmp_path / "inbox" / "key").stat().st_mode & 0o777 == 0o600


def test_faults_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ToolUnavailableError, match="cannot be written"):
        Corrections(tmp_path / "file").put(correction())
    with pytest.raises(FeedbackError, match="32 hex digits"):
        Corrections(tmp_path).forget("../../key")
    with pytest.raises(ValueError, match="do not fit"):
        Correction(**{**vars(correction()), "corrected": "bored"})
