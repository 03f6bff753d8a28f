"""Frames one after another -> tracked faces with raw and smoothed emotions; the same for a video file and a live camera."""

from __future__ import annotations

from collections.abc import Sequence

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import UInt8Array, shrink
from fer_pipeline.inference.detection.faces import DETECTION_SIDE, Box, FaceBox
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import SMOOTHING_SECONDS, EmotionFilter, ProbabilitySmoother, TemporalModel
from fer_pipeline.inference.tracking import COAST_SECONDS, FaceTracker, TrackedFace


class FaceStream:
    """The faces of one film or one camera, frame by frame. One per film; not safe for several threads.

    Its `recognizer` may be replaced between two frames; persons keep their numbers.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        detect_every: int = 1,
        detection_side: int = DETECTION_SIDE,
        smoothing_seconds: float = SMOOTHING_SECONDS,
        dwell_seconds: float | None = None,
    ) -> None:
        """Faces are searched in each `detect_every`-th frame, on a copy of at most `detection_side` pixels, and followed between.
        Where frames come slowly they are searched more often, so that no face is lost between two searches.

        `smoothing_seconds` is the time constant of the smoothed probabilities; 0 switches smoothing off. With `dwell_seconds`
        they come from a hidden Markov model instead (`temporal.EmotionFilter`).
        """
        if detect_every < 1 or detection_side < 1 or smoothing_seconds < 0:
            raise ParamsError(
                f"detect_every is {detect_every}, detection_side {detection_side}, smoothing_seconds {smoothing_seconds}: "
                "expected at least 1, 1 and 0"
            )
        if dwell_seconds is not None:
            EmotionFilter(dwell_seconds)  # refuses now what would fail at the first face
        self.recognizer = recognizer
        self._detect_every = detect_every
        self._detection_side = detection_side
        self._smoothing_seconds = smoothing_seconds
        self._dwell_seconds = dwell_seconds
        self._tracker = FaceTracker()
        self._temporal: dict[int, TemporalModel] = {}
        self._frames = 0
        self._time = self._searched = float("-inf")

    def update(self, image: UInt8Array, time: float) -> list[TrackedFace]:
        """The faces of the next frame, RGB uint8 (H, W, 3), taken `time` seconds after some fixed moment.

        Faces found in this frame come first, largest first. All of them go through the network as one batch. Raises
        `ParamsError` where `time` runs backwards.
        """
        return self.update_many([(time, image)])[0]

    def update_many(self, frames: Sequence[tuple[float, UInt8Array]]) -> list[list[TrackedFace]]:
        """The same for several successive frames as (time, image); all their faces go through the network as one batch."""
        followed = [self._follow(image, time) for time, image in frames]
        answers = self.recognizer.recognize_found(
            [(image, [box for _, box, _ in known]) for (_, image), known in zip(frames, followed, strict=True)]
        )
        joined = [
            [self._smooth(number, face, time, found) for (number, _, found), face in zip(known, faces, strict=True)]
            for (time, _), known, faces in zip(frames, followed, answers, strict=True)
        ]
        # Only now: the tracker is at the last of the frames already, and those who left before it are still to be smoothed.
        self._temporal = {number: model for number, model in self._temporal.items() if number in self._tracker.known}
        return joined

    def _follow(self, image: UInt8Array, time: float) -> list[tuple[int, FaceBox, bool]]:
        if time < self._time:
            raise ParamsError(f"frame at {time:.3f} s comes after one at {self._time:.3f} s: give frames in the order of time")
        self._time = time
        search = self._frames % self._detect_every == 0 or time - self._searched > COAST_SECONDS
        self._frames += 1
        if not search:
            return _inside(self._tracker.predicted(time), image)
        self._searched = time
        small = shrink(image, self._detection_side)
        scale = image.shape[1] / small.shape[1]
        return _inside(
            self._tracker.detected([face.scaled(scale) for face in self.recognizer.detector.detect(small)], time), image
        )

    def _smooth(self, number: int, face: FaceEmotion, time: float, found: bool) -> TrackedFace:
        if number not in self._temporal:
            self._temporal[number] = self._temporal_model()
        smoothed = self._temporal[number].add(face.probabilities, time)
        return TrackedFace(number, face, smoothed, self.recognizer.name_of(smoothed), found)

    def _temporal_model(self) -> TemporalModel:
        if self._dwell_seconds is None:
            return ProbabilitySmoother(self._smoothing_seconds)
        return EmotionFilter(self._dwell_seconds)


def _inside(known: list[tuple[int, FaceBox, bool]], image: UInt8Array) -> list[tuple[int, FaceBox, bool]]:
    # A face predicted to have left the picture has no pixels to judge.
    height, width = image.shape[:2]

    def visible(box: Box) -> bool:
        return bool(0 < (box[0] + box[2]) / 2 < width and 0 < (box[1] + box[3]) / 2 < height)

    return [(number, face, found) for number, face, found in known if found or visible(face.framing_xyxy)]
