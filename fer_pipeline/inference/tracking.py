"""Track faces from frame to frame, in constant time and memory per face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.detection.faces import Box, FaceBox, iou
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.output_schema import by_emotion

FORGET_SECONDS = 1.0
"""A face that reappears within this time keeps its number."""

COAST_SECONDS = 0.3
"""A face that is not detected is predicted for this long, then it is absent."""

_MIN_IOU = 0.15
_POSITION_NOISE, _SIZE_NOISE = 0.03, 0.04  # of a detection, in face sides: jitter of Haar boxes on a still face
_ACCELERATION = 4.0  # in face sides per second squared: a head that starts to turn or walk


@dataclass(frozen=True)
class TrackedFace:
    """One face in one frame of a video.

    `track` is the number of the person, from 1, kept until the face is lost. `face` is the result of this frame alone;
    `smoothed` are its probabilities combined over time (order of `labels.EMOTIONS`, sum 1) and `emotion` their label, or
    "uncertain". `detected` is false where the face was not detected in this frame; its box is then predicted.
    """

    track: int
    face: FaceEmotion
    smoothed: tuple[float, ...]
    emotion: str
    detected: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON.

        Those of `FaceEmotion.as_dict`, `track`, `smoothed_emotion`, `smoothed` and `detected`.
        """
        return {
            "track": self.track,
            **self.face.as_dict(),
            "smoothed_emotion": self.emotion,
            "smoothed": by_emotion(self.smoothed),
            "detected": self.detected,
        }


class FaceTracker:
    """Assigns persistent numbers to the faces of successive frames.

    A constant-velocity Kalman filter per face predicts centre and size; detections are matched by the overlap (IoU) with the
    predictions, best pair first (Bewley et al. 2016, "Simple online and realtime tracking"). Not safe for several threads.
    """

    def __init__(self, *, forget_seconds: float = FORGET_SECONDS, coast_seconds: float = COAST_SECONDS) -> None:
        if not 0 <= coast_seconds <= forget_seconds:
            raise ParamsError(f"coast_seconds is {coast_seconds}, expected 0..forget_seconds ({forget_seconds})")
        self._forget_seconds = forget_seconds
        self._coast_seconds = coast_seconds
        self._tracks: dict[int, _Track] = {}
        self._next = 1

    @property
    def known(self) -> frozenset[int]:
        """Return the numbers of the faces that are not forgotten yet."""
        return frozenset(self._tracks)

    def forget(self) -> None:
        """Forget all faces; who comes next gets a new number."""
        self._tracks = {}

    def detected(self, faces: Sequence[FaceBox], time: float) -> list[tuple[int, FaceBox, bool]]:
        """Match the detections of a frame; return (number, box, detected).

        `time` is in seconds. Detected faces keep their order and boxes; then come the predicted faces that were missed.
        """
        self._forget(time)
        pairs = self._match(faces, time)
        for index, face in enumerate(faces):
            if index in pairs:
                self._tracks[pairs[index]].correct(face, time)
            else:
                pairs[index] = self._next
                self._tracks[self._next] = _Track(face, time)
                self._next += 1
        found = [(pairs[index], face, True) for index, face in enumerate(faces)]
        taken = set(pairs.values())
        return found + [known for known in self.predicted(time) if known[0] not in taken]

    def predicted(self, time: float) -> list[tuple[int, FaceBox, bool]]:
        """Predict the faces detected at most `coast_seconds` ago, as (number, box, false)."""
        self._forget(time)
        return [
            (number, track.at(time), False)
            for number, track in self._tracks.items()
            if time - track.seen <= self._coast_seconds + 1e-9
        ]

    def _forget(self, time: float) -> None:
        self._tracks = {n: track for n, track in self._tracks.items() if 0 <= time - track.seen <= self._forget_seconds}

    def _match(self, faces: Sequence[FaceBox], time: float) -> dict[int, int]:
        overlaps = [
            (iou(track.at(time).framing_xyxy, face.framing_xyxy), number, index)
            for number, track in self._tracks.items()
            for index, face in enumerate(faces)
        ]
        pairs: dict[int, int] = {}
        for overlap, number, index in sorted(overlaps, key=lambda pair: (-pair[0], pair[1])):
            if overlap >= _MIN_IOU and index not in pairs and number not in pairs.values():
                pairs[index] = number
        return pairs


class _Track:
    """Kalman state of one face.

    Value, velocity and 2x2 covariance of centre x, centre y and side, in pixels.
    """

    def __init__(self, face: FaceBox, time: float) -> None:
        self.seen = time
        self._face = face
        side = _side(face)
        self._state = np.stack([_measured(face), np.zeros(3)])  # (value or velocity, dimension)
        self._covariance = np.zeros((3, 2, 2))
        self._covariance[:, 0, 0] = _noise(side)
        self._covariance[:, 1, 1] = (2.0 * side) ** 2  # a new face may move by two sides a second

    def at(self, time: float) -> FaceBox:
        """Return the last detection, moved and scaled to the predicted position."""
        x, y, side = self._state[0] + self._state[1] * (time - self.seen)
        old_x, old_y, old_side = _measured(self._face)
        scale = max(float(side), 0.5 * float(old_side)) / float(old_side)

        def move(box: Box) -> Box:
            return (
                float(x + (box[0] - old_x) * scale),
                float(y + (box[1] - old_y) * scale),
                float(x + (box[2] - old_x) * scale),
                float(y + (box[3] - old_y) * scale),
            )

        landmarks = self._face.landmarks
        if landmarks is not None:
            landmarks = tuple((float(x + (a - old_x) * scale), float(y + (b - old_y) * scale)) for a, b in landmarks)
        return replace(
            self._face, box_xyxy=move(self._face.box_xyxy), framing_xyxy=move(self._face.framing_xyxy), landmarks=landmarks
        )

    def correct(self, face: FaceBox, time: float) -> None:
        """Predict the state at `time` and correct it with a detection."""
        step, side = time - self.seen, _side(face)
        transition = np.array([[1.0, step], [0.0, 1.0]])
        drift = (_ACCELERATION * side) ** 2 * np.array([[step**4 / 4, step**3 / 2], [step**3 / 2, step**2]])
        state = transition @ self._state
        covariance = transition @ self._covariance @ transition.T + drift
        gain = covariance[:, :, 0] / (covariance[:, 0, 0] + _noise(side))[:, np.newaxis]
        self._state = state + (gain * (_measured(face) - state[0])[:, np.newaxis]).T
        self._covariance = covariance - gain[:, :, np.newaxis] * covariance[:, np.newaxis, 0, :]
        self._face, self.seen = face, time


def _measured(face: FaceBox) -> npt.NDArray[np.float64]:
    x1, y1, x2, y2 = face.framing_xyxy
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1])


def _noise(side: float) -> npt.NDArray[np.float64]:
    return (side * np.array([_POSITION_NOISE, _POSITION_NOISE, _SIZE_NOISE])) ** 2


def _side(face: FaceBox) -> float:
    return face.framing_xyxy[2] - face.framing_xyxy[0]
