from __future__ import annotations

import json

import numpy as np
import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.quality import FaceQuality
from fer_pipeline.inference.tracking import FaceTracker, TrackedFace, iou

SIDE = 50.0
STEP = 1 / 25


def face(x: float, y: float = 0.0, side: float = SIDE) -> FaceBox:
    box = (x, y, x + side, y + side)
    return FaceBox(box, box, 0.9, ((x, y), (x + 1, y)))


def numbers(found: list[tuple[int, FaceBox, bool]]) -> list[int]:
    return [number for number, _, _ in found]


def test_a_moving_face_keeps_its_number() -> None:
    tracker = FaceTracker()
    assert [numbers(tracker.detected([face(4.0 * n)], n * STEP)) for n in range(50)] == [[1]] * 50


def test_boxes_of_searched_frames_are_the_detectors_own() -> None:
    tracker = FaceTracker()
    for n in range(5):
        ((_, box, found),) = tracker.detected([face(7.0 * n)], n * STEP)
        assert found
        assert box == face(7.0 * n)


def test_two_faces_that_pass_each_other_keep_their_numbers() -> None:
    tracker = FaceTracker()
    for n in range(60):
        right, left = face(5.0 * n, 0.0), face(300 - 5.0 * n, 20.0)
        order = [right, left] if n % 2 else [left, right]  # the order of the detector plays no part
        found = dict(zip(numbers(tracker.detected(order, n * STEP)), order, strict=False))
        if n == 0:
            first = {number: box.box_xyxy[1] for number, box in found.items()}
        assert {number: box.box_xyxy[1] for number, box in found.items()} == first


def test_a_face_hidden_behind_another_comes_out_with_its_number() -> None:
    tracker = FaceTracker()
    for n in range(60):
        front, behind = face(200.0), face(4.0 * n + 80, 5.0)
        hidden = iou(front.box_xyxy, behind.box_xyxy) > 0.5
        found = tracker.detected([front] if hidden else [front, behind], n * STEP)
        assert numbers(found)[0] == 1
        if not hidden:
            assert numbers(found)[1] == 2


def test_a_face_between_searches_is_where_its_speed_takes_it() -> None:
    tracker = FaceTracker()
    for n in range(0, 25, 5):
        tracker.detected([face(4.0 * n, side=SIDE + n)], n * STEP)
    for n in range(21, 25):
        ((number, box, found),) = tracker.predicted(n * STEP)
        assert (number, found) == (1, False)
        assert iou(box.box_xyxy, face(4.0 * n, side=SIDE + n).box_xyxy) > 0.9
        assert box.landmarks is not None
        assert box.landmarks[0] == pytest.approx(box.box_xyxy[:2])


def test_a_missed_face_is_followed_for_a_moment_and_then_gone() -> None:
    tracker = FaceTracker(coast_seconds=0.3)
    tracker.detected([face(0)], 0.0)
    assert numbers(tracker.detected([], 0.3)) == [1]
    assert numbers(tracker.detected([], 0.31)) == []


@pytest.mark.parametrize(("gap", "number"), [(0.9, 1), (1.1, 2)])
def test_a_face_that_comes_back_soon_keeps_its_number(gap: float, number: int) -> None:
    tracker = FaceTracker(forget_seconds=1.0)
    for n in range(10):
        tracker.detected([face(0)], n * STEP)
    tracker.detected([], 9 * STEP + 0.2)
    assert numbers(tracker.detected([face(3)], 9 * STEP + gap)) == [number]


def test_forgotten_faces_cost_nothing() -> None:
    tracker = FaceTracker()
    for n in range(200):
        tracker.detected([face(1000.0 * n)], 0.5 * n)
    assert len(tracker.known) <= 3


def test_seconds_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ParamsError, match="coast_seconds"):
        FaceTracker(forget_seconds=0.1, coast_seconds=0.5)


@pytest.mark.parametrize(
    ("other", "overlap"), [((0, 0, 10, 10), 1.0), ((5, 0, 15, 10), 1 / 3), ((10, 0, 20, 10), 0.0), ((2, 2, 4, 4), 0.04)]
)
def test_the_overlap_is_intersection_over_union(other: tuple[float, float, float, float], overlap: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(overlap)


def test_a_tracked_face_is_plain_json() -> None:
    answer = FaceEmotion((0, 0, 5, 5), 0.9, tuple(np.eye(7)[3]), "happy", FaceQuality(50, 900, 100, 0, 40), ())
    values = json.loads(json.dumps(TrackedFace(4, answer, tuple(np.eye(7)[6]), "neutral", False).as_dict()))
    assert (values["track"], values["emotion"], values["smoothed_emotion"], values["detected"]) == (4, "happy", "neutral", False)
    assert (values["probabilities"]["happy"], values["smoothed"]["neutral"]) == (1.0, 1.0)
