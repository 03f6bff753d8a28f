from __future__ import annotations

import numpy as np
import pytest

from fer_pipeline.inference.neutral.resting import _MAX_OBSERVATIONS, MIN_TRACK_SECONDS, TRACK_TAU, RestingFaces
from fer_pipeline.labels import emotion_index

RESTING = (0.1, 0.05, 0.05, 0.05, 0.4, 0.05, 0.3)  # a face that looks sad at rest
SMILING = (0.01, 0.01, 0.01, 0.9, 0.02, 0.02, 0.03)
ANGRY = (0.9, 0.02, 0.02, 0.01, 0.02, 0.01, 0.02)


def seen(*tracks: tuple[int, list[tuple[float, ...]]], fps: int = 10, start: float = 0.0) -> RestingFaces:
    resting = RestingFaces()
    for frame in range(max(len(rows) for _, rows in tracks)):
        faces = {number: rows[frame] for number, rows in tracks if frame < len(rows)}
        assert resting.references(faces, start + frame / fps) == {}
    return resting


def jittered(row: tuple[float, ...], count: int, seed: int = 0) -> list[tuple[float, ...]]:
    noisy = np.array(row) * np.exp(np.random.default_rng(seed).normal(0, 0.1, (count, len(row))))
    return [tuple(values) for values in (noisy / noisy.sum(axis=1, keepdims=True)).tolist()]


def test_the_face_shown_most_is_the_neutral_one() -> None:
    """At rest for 45 % of the time, smiling for 30 and angry for 25: the mean would be none of them."""
    rows = jittered(RESTING, 90) + jittered(SMILING, 60, 1) + jittered(ANGRY, 50, 2)
    found = seen((4, rows)).estimates("abc")
    assert set(found) == {4}
    assert found[4].probabilities == pytest.approx(RESTING, abs=0.03)
    assert (found[4].origin, found[4].tau, found[4].fingerprint) == ("track", TRACK_TAU, "abc")


@pytest.mark.parametrize("row", [SMILING, ANGRY, (0.1, 0.1, 0.1, 0.3, 0.1, 0.1, 0.2)])
def test_an_expression_that_lasts_is_no_neutral_face(row: tuple[float, ...]) -> None:
    assert seen((1, jittered(row, 150) + jittered(RESTING, 40))).estimates("abc") == {}


def test_a_short_track_has_none() -> None:
    frames = int(10 * MIN_TRACK_SECONDS)
    found = seen((1, [RESTING] * frames), (2, [RESTING] * (frames + 1)), start=5.0).estimates("abc")
    assert set(found) == {2}


def test_memory_is_bounded_and_short_tracks_are_dropped() -> None:
    resting = RestingFaces()
    for frame in range(4000):
        resting.references({1: RESTING, 100 + frame // 20: SMILING}, frame * 0.5)  # others are seen for 10 s less half a second
    assert len(resting._tracks) <= 4
    assert len(resting._tracks[1].rows) <= _MAX_OBSERVATIONS
    assert resting.estimates("abc")[1].probabilities[emotion_index("sad")] == pytest.approx(0.4)
