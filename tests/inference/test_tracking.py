from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.detection.faces import Box, FaceBox
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


def test_predictions_are_those_of_the_textbook_kalman_filter() -> None:
    """Constant velocity with white noise of acceleration, 6 states and full matrices (Bar-Shalom et al. 2001, chapter 6).

    Noise in sides of the face: 0.03 of the centre, 0.04 of the side, acceleration 4 per second squared, first speed 2 per second.
    """
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.02, 0.2, 12))
    tracker, state, covariance, before = FaceTracker(), np.zeros(6), np.zeros((6, 6)), 0.0
    for n, time in enumerate(times):
        left, top = 10 + 5 * n + rng.normal(0, 1), 300 - 2 * n + rng.normal(0, 1)
        side = float(60 + n + rng.normal(0, 1))
        tracker.detected([FaceBox((0, 0, 1, 1), (left, top, left + side, top + side), 0.9)], time)
        measured = np.array([left + side / 2, top + side / 2, side])
        noise = np.diag((side * np.array([0.03, 0.03, 0.04])) ** 2)
        if n == 0:
            state[:3] = measured
            covariance[:3, :3], covariance[3:, 3:] = noise, np.eye(3) * (2 * side) ** 2
        else:
            step = time - before
            moves = np.block([[np.eye(3), step * np.eye(3)], [np.zeros((3, 3)), np.eye(3)]])
            kick = np.vstack([step**2 / 2 * np.eye(3), step * np.eye(3)])
            state = moves @ state
            covariance = moves @ covariance @ moves.T + (4 * side) ** 2 * kick @ kick.T
            gain = covariance[:, :3] @ np.linalg.inv(covariance[:3, :3] + noise)
            state = state + gain @ (measured - state[:3])
            covariance = covariance - gain @ covariance[:3]
        before = time
        ahead = state[:3] + 0.1 * state[3:]
        ((_, face_box, _),) = tracker.predicted(time + 0.1)
        x1, y1, x2, y2 = face_box.framing_xyxy
        assert ((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1) == pytest.approx((*ahead, ahead[2]))


def test_a_predicted_face_moves_as_one_and_keeps_half_its_size() -> None:
    """Box, framing and landmarks move and scale about the framing's centre; a shrinking face stops at half its side."""
    tracker = FaceTracker()
    for n, side in enumerate((100.0, 70.0)):
        framing = (50 - side / 2, 80 - side / 2, 50 + side / 2, 80 + side / 2)
        tracker.detected([FaceBox((40, 60, 70, 110), framing, 0.9, ((45, 75), (56, 76)))], 0.2 * n)
    ((_, shrunk, _),) = tracker.predicted(0.5)
    assert shrunk.framing_xyxy == pytest.approx((50 - 17.5, 80 - 17.5, 50 + 17.5, 80 + 17.5))
    assert shrunk.box_xyxy == pytest.approx((45, 70, 60, 95))
    assert shrunk.landmarks == (pytest.approx((47.5, 77.5)), pytest.approx((53, 78)))


@pytest.mark.parametrize(("coast", "forget"), [(0.0, 1.0), (1.0, 1.0), (0.0, 0.0)])
def test_coasting_may_last_nothing_or_until_forgotten(coast: float, forget: float) -> None:
    tracker = FaceTracker(forget_seconds=forget, coast_seconds=coast)
    tracker.detected([face(0)], 0.0)
    assert numbers(tracker.predicted(coast)) == [1]
    assert tracker.known == {1}
    assert numbers(tracker.predicted(coast + 0.01)) == []


@pytest.mark.parametrize(("coast", "forget"), [(-0.1, 1.0), (1.01, 1.0)])
def test_impossible_seconds_are_named(coast: float, forget: float) -> None:
    with pytest.raises(ParamsError, match=rf"coast_seconds is {coast}, expected 0\.\.forget_seconds \({forget}\)"):
        FaceTracker(forget_seconds=forget, coast_seconds=coast)


@pytest.mark.parametrize(("seconds", "known"), [(0.0, True), (1.0, True), (1.01, False), (-0.01, False)])
def test_faces_are_forgotten_when_time_passes_or_jumps_back(seconds: float, known: bool) -> None:
    tracker = FaceTracker(forget_seconds=1.0)
    tracker.detected([face(0)], 0.0)
    tracker.predicted(seconds)
    assert tracker.known == ({1} if known else set())


@pytest.mark.parametrize(("shift", "number"), [(36.9, 1), (37.0, 2)])
def test_faces_of_too_small_an_overlap_are_other_faces(shift: float, number: int) -> None:
    """Two squares of 50 that are 37 apart overlap by 13 / 87 = 0.149, below 0.15."""
    tracker = FaceTracker()
    tracker.detected([face(0)], 0.0)
    assert numbers(tracker.detected([face(shift)], 0.0))[0] == number


def test_two_equal_overlaps_go_to_the_older_face() -> None:
    tracker = FaceTracker()
    tracker.detected([face(20), face(0)], 0.0)
    assert numbers(tracker.detected([face(10)], 0.0)) == [1, 2]
    two = FaceTracker()
    two.detected([face(10)], 0.0)
    assert numbers(two.detected([face(20), face(0)], 0.0)) == [1, 2]


BOXES = st.tuples(*[st.floats(-50, 50)] * 2, *[st.floats(0.1, 60)] * 2).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@given(a=BOXES, b=BOXES, x=st.floats(-99, 99), y=st.floats(-99, 99))
def test_the_overlap_is_symmetric_and_the_same_anywhere(a: Box, b: Box, x: float, y: float) -> None:
    def moved(box: Box) -> Box:
        return (box[0] + x, box[1] + y, box[2] + x, box[3] + y)

    assert iou(b, a) == pytest.approx(iou(a, b)) == pytest.approx(iou(moved(a), moved(b)), abs=1e-9)
    assert 0 <= iou(a, b) <= 1 + 1e-9
    assert iou(a, a) == pytest.approx(1)


@pytest.mark.parametrize(
    ("other", "overlap"),
    [
        ((0, 5, 10, 15), 1 / 3),  # moved down
        ((0, 10, 10, 20), 0.0),  # touches below
        ((10, 10, 20, 20), 0.0),  # touches at a corner
        ((0, 11, 10, 20), 0.0),  # below, beside nothing
        ((12, 11, 20, 20), 0.0),
        ((9.5, 0, 19.5, 10), 0.5 / 19.5),  # by half a pixel
        ((0, 9.5, 10, 19.5), 0.5 / 19.5),
    ],
)
def test_overlaps_at_the_edge_are_known(other: Box, overlap: float) -> None:
    assert iou((0, 0, 10, 10), other) == pytest.approx(overlap)


def test_smoothed_probabilities_must_be_seven() -> None:
    answer = FaceEmotion((0, 0, 5, 5), 0.9, tuple(np.eye(7)[3]), "happy", FaceQuality(50, 900, 100, 0, 40), ())
    with pytest.raises(ValueError, match="zip"):
        TrackedFace(1, answer, (0.5, 0.5), "happy").as_dict()
