from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.cuts import CutDetector
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.stream import FaceStream

UInt8Array = npt.NDArray[np.uint8]


def test_a_picture_equals_a_film_of_one_frame(brightness_model: Path, drawn_face: UInt8Array) -> None:
    recognizer = Recognizer.load(brightness_model)
    (tracked,) = FaceStream(recognizer).update(drawn_face, 0.0)
    (face,) = recognizer.recognize(drawn_face)
    assert tracked.face == face
    assert tracked.smoothed == pytest.approx(face.probabilities, abs=1e-3)
    assert (tracked.track, tracked.emotion, tracked.detected) == (1, face.emotion, True)


def test_frames_between_the_searches_are_not_searched(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs), detect_every=3)
    found = [stream.update(spots((20 + 2 * n, 30, 40, 125)), n / 25) for n in range(7)]
    assert len(blobs.sizes) == 3
    assert [[face.detected for face in faces] for faces in found] == [[n % 3 == 0] for n in range(7)]
    assert {face.track for faces in found for face in faces} == {1}


def test_faces_are_searched_small_and_judged_large(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs), detection_side=80)
    (face,) = stream.update(spots((40, 20, 60, 125)), 0.0)
    assert blobs.sizes == [(80, 60)]
    assert face.face.box_xyxy == (40, 20, 100, 80)
    assert face.face.quality.size == 60
    assert face.emotion == "happy"


def test_the_faces_of_several_frames_are_one_batch(
    brightness_model: Path, blobs: Any, spots: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The faces of several frames go through the network in one call."""
    sizes: list[int] = []
    real = EmotionClassifier.logits
    monkeypatch.setattr(EmotionClassifier, "logits", lambda self, x: (sizes.append(len(x)), real(self, x))[1])
    frames = [(n / 25, spots((10, 10, 40, 90), (90, 10, 40, 230))) for n in range(4)]
    many = FaceStream(Recognizer.load(brightness_model, blobs)).update_many(frames)
    assert sizes == [8]
    one = FaceStream(Recognizer.load(brightness_model, blobs))
    assert [one.update(image, time) for time, image in frames] == many


def test_raw_answers_jump_and_smoothed_ones_follow(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs), smoothing_seconds=0.5, dwell_seconds=None)
    labels = []
    for n in range(50):
        (face,) = stream.update(spots((40, 30, 50, 125 if n < 25 or n == 30 else 230)), n / 25)
        labels.append((face.face.emotion, face.emotion))
    assert labels[24] == ("happy", "happy")
    assert labels[25] == ("neutral", "happy")
    assert labels[49] == ("neutral", "neutral")
    raw, smoothed = ([x for x, _ in labels], [x for _, x in labels])
    assert sum(a != b for a, b in pairwise(raw)) == 3  # up, and there and back at frame 30
    assert sum(a != b for a, b in pairwise(smoothed)) <= 2  # at most through "uncertain"


def test_the_hidden_markov_model_joins_the_answers(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs))
    labels = []
    for n in range(50):
        (face,) = stream.update(spots((40, 30, 50, 125 if n < 25 or n == 45 else 230)), n / 25)
        labels.append((face.face.emotion, face.emotion))
    assert labels[25] == ("neutral", "happy")
    assert labels[49] == ("neutral", "neutral")
    assert sum(a[1] != b[1] for a, b in pairwise(labels)) == 1


def test_a_face_predicted_to_have_left_the_picture_is_not_judged(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs))
    for n in range(5):
        stream.update(spots((60 + 14 * n, 30, 40, 125)), n / 25)
    assert [len(stream.update(spots(), n / 25)) for n in range(5, 10)] == [1, 0, 0, 0, 0]


def test_memory_does_not_grow_with_the_number_of_people(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs))
    for n in range(40):
        assert stream.update(spots((40, 30, 50, 125)), 2.0 * n)[0].track == n + 1
    assert len(stream._temporal) <= 2


def test_a_cut_shows_at_once_and_begins_anew(brightness_model: Path, blobs: Any, spots: Any) -> None:
    """One person gives way to another at the same place, between two searches."""
    first, second = np.full((120, 160, 3), 10, np.uint8), np.full((120, 160, 3), 10, np.uint8)
    first[10:70, 10:70], second[10:110, 30:130] = 125, 230
    frames = [(n / 25, first if n < 13 else second) for n in range(16)]
    found = FaceStream(Recognizer.load(brightness_model, blobs), detect_every=5, is_cut=CutDetector().is_cut).update_many(frames)
    assert [(face.track, face.emotion) for (face,) in found] == [(1, "happy")] * 13 + [(2, "neutral")] * 3
    assert [n for n, (face,) in enumerate(found) if face.detected] == [0, 5, 10, 13]
    kept = FaceStream(Recognizer.load(brightness_model, blobs), detect_every=5).update_many(frames)
    assert {face.track for (face,) in kept} == {1}


def test_time_does_not_run_backwards(brightness_model: Path, blobs: Any, spots: Any) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs))
    stream.update(spots(), 1.0)
    stream.update(spots(), 1.0)
    with pytest.raises(ParamsError, match="order of time"):
        stream.update(spots(), 0.9)


@pytest.mark.parametrize("options", [{"detect_every": 0}, {"detection_side": 0}, {"smoothing_seconds": -1}, {"dwell_seconds": 0}])
def test_options_out_of_range_are_refused(brightness_model: Path, options: dict[str, int]) -> None:
    with pytest.raises(ParamsError, match=r"expected (at least|more)"):
        FaceStream(Recognizer.load(brightness_model), **options)


@pytest.mark.parametrize("fps", [1, 2, 4, 5, 6, 10, 25])
def test_no_face_is_lost_where_frames_come_slowly(brightness_model: Path, blobs: Any, spots: Any, fps: int) -> None:
    stream = FaceStream(Recognizer.load(brightness_model, blobs), detect_every=5)
    found = [stream.update(spots((20, 30, 40, 125)), n / fps) for n in range(20)]
    assert [len(faces) for faces in found] == [1] * 20
    assert {face.track for faces in found for face in faces} == {1}


def test_a_batch_is_smoothed_like_single_frames(brightness_model: Path, blobs: Any, spots: Any) -> None:
    """Who leaves and comes within a batch is smoothed as frame by frame."""
    frames = [(n / 10, spots(*([(20, 30, 40, 20 + 105 * (n % 2)), (90, 10, 40, 230)] if n < 5 else []))) for n in range(20)]
    frames += [(2 + n / 10, spots((60, 30, 40, 125))) for n in range(5)]
    one = FaceStream(Recognizer.load(brightness_model, blobs))
    singly = [one.update(image, time) for time, image in frames]
    assert FaceStream(Recognizer.load(brightness_model, blobs)).update_many(frames) == singly
