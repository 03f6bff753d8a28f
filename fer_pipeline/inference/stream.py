"""Recognize and track faces in successive frames of a video file or a live camera."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import UInt8Array, shrink
from fer_pipeline.inference.detection.faces import DETECTION_SIDE, Box, FaceBox
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import DWELL_SECONDS, SMOOTHING_SECONDS, EmotionFilter, ProbabilitySmoother, TemporalModel
from fer_pipeline.inference.tracking import COAST_SECONDS, FaceTracker, TrackedFace

References = Callable[[Mapping[int, Sequence[float]], float], Mapping[int, NeutralReference]]
"""Own neutral faces of the people in a frame, by track.

It is given the probabilities that the model reads in each face, largest face first, and the time in seconds; it is asked once for
each frame, in order.
"""

_DETECTION_THREADS = 2  # for the frames of one batch; decoding and writing run beside them


class FaceStream:
    """Faces of one video or camera, frame by frame; not safe for several threads.

    `recognizer` may be replaced between two frames; people keep their numbers.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        *,
        detect_every: int = 1,
        detection_side: int = DETECTION_SIDE,
        smoothing_seconds: float = SMOOTHING_SECONDS,
        dwell_seconds: float | None = DWELL_SECONDS,
        is_cut: Callable[[UInt8Array], bool] | None = None,
        references: References | None = None,
    ) -> None:
        """Set the detection interval and the temporal model.

        Faces are detected in each `detect_every`-th frame, on a copy of at most `detection_side` pixels, and tracked in between;
        at low frame rates more often, so that no face is lost between two detections. The smoothed probabilities come from a
        hidden Markov model (`smoothing.EmotionFilter`) with `dwell_seconds`; where that is None, from a moving mean with the
        time constant `smoothing_seconds`, 0 for none. Everybody is forgotten before a frame for which
        `is_cut` returns true (`detection.cuts.CutDetector`), and it is searched. Faces for which `references` has one are read
        relative to it, before they are joined. Raises `ParamsError` for a value out of range.
        """
        if detect_every < 1 or detection_side < 1 or smoothing_seconds < 0:
            raise ParamsError(
                f"detect_every is {detect_every}, detection_side {detection_side}, smoothing_seconds {smoothing_seconds}: "
                "expected at least 1, 1 and 0"
            )
        if dwell_seconds is not None:
            EmotionFilter(dwell_seconds)  # checks the value now, not at the first face
        self.recognizer = recognizer
        self._detect_every = detect_every
        self._detection_side = detection_side
        self._smoothing_seconds = smoothing_seconds
        self._dwell_seconds = dwell_seconds
        self._is_cut = is_cut
        self._references = references
        self._tracker = FaceTracker()
        self._temporal: dict[int, tuple[NeutralReference | None, TemporalModel]] = {}
        self._frames = 0
        self._time = self._searched = float("-inf")

    def update(self, image: UInt8Array, time: float) -> list[TrackedFace]:
        """Recognize the faces of the next frame.

        `image` is RGB uint8 (H, W, 3), `time` in seconds. Faces detected in this frame come first, largest first; all faces are
        classified as one batch. Raises `ParamsError` where `time` decreases.
        """
        return self.update_many([(time, image)])[0]

    def update_many(self, frames: Sequence[tuple[float, UInt8Array]]) -> list[list[TrackedFace]]:
        """Recognize the faces of several successive frames (time, image) as one batch."""
        searches = [self._plan(image, time) for time, image in frames]
        found = self._detect([image for (_, image), (search, _) in zip(frames, searches, strict=True) if search])
        tracked = [
            self._track(image, time, found.pop(0) if search else None, cut=cut)
            for (time, image), (search, cut) in zip(frames, searches, strict=True)
        ]
        answers = self.recognizer.recognize_found(
            [(image, [box for _, box, _ in known]) for (_, image), known in zip(frames, tracked, strict=True)]
        )
        joined = [
            self._join({number: (face, found) for (number, _, found), face in zip(known, faces, strict=True)}, time)
            for (time, _), known, faces in zip(frames, tracked, answers, strict=True)
        ]
        # At the end: the tracker is at the last frame already, but faces of earlier frames had to be smoothed first.
        self._temporal = {number: model for number, model in self._temporal.items() if number in self._tracker.known}
        return joined

    def _plan(self, image: UInt8Array, time: float) -> tuple[bool, bool]:
        """Return whether the next frame is searched, and whether it follows a cut."""
        if time < self._time:
            raise ParamsError(f"frame at {time:.3f} s comes after one at {self._time:.3f} s: give frames in the order of time")
        self._time = time
        cut = self._is_cut is not None and self._is_cut(image)
        if cut:
            self._frames = 0
        search = self._frames % self._detect_every == 0 or time - self._searched > COAST_SECONDS
        self._frames += 1
        if search:
            self._searched = time
        return search, cut

    def _detect(self, images: list[UInt8Array]) -> list[list[FaceBox]]:
        def detect(image: UInt8Array) -> list[FaceBox]:
            small = shrink(image, self._detection_side)
            scale = image.shape[1] / small.shape[1]
            return [face.scaled(scale) for face in self.recognizer.detector.detect(small)]

        if len(images) < 2:
            return [detect(image) for image in images]
        with ThreadPoolExecutor(min(len(images), os.cpu_count() or 1, _DETECTION_THREADS)) as pool:
            return list(pool.map(detect, images))

    def _track(
        self, image: UInt8Array, time: float, found: list[FaceBox] | None, *, cut: bool
    ) -> list[tuple[int, FaceBox, bool]]:
        if cut:
            self._tracker.forget()
        known = self._tracker.predicted(time) if found is None else self._tracker.detected(found, time)
        return _inside(known, image)

    def _join(self, faces: dict[int, tuple[FaceEmotion, bool]], time: float) -> list[TrackedFace]:
        seen = {number: face.probabilities for number, (face, _) in faces.items()}
        references = self._references(seen, time) if self._references is not None else {}
        return [self._smooth(number, face, time, found, references.get(number)) for number, (face, found) in faces.items()]

    def _smooth(
        self, number: int, face: FaceEmotion, time: float, found: bool, reference: NeutralReference | None
    ) -> TrackedFace:
        if reference is not None:
            face = self.recognizer.relative_to(reference, face)
        if number not in self._temporal or self._temporal[number][0] != reference:  # what was joined is no longer comparable
            self._temporal[number] = (reference, self._temporal_model())
        smoothed = self._temporal[number][1].add(face.probabilities, time)
        emotion = self.recognizer.name_of(smoothed, relative=reference is not None)
        return TrackedFace(number, face, smoothed, emotion, found)

    def _temporal_model(self) -> TemporalModel:
        if self._dwell_seconds is None:
            return ProbabilitySmoother(self._smoothing_seconds)
        return EmotionFilter(self._dwell_seconds)


def _inside(known: list[tuple[int, FaceBox, bool]], image: UInt8Array) -> list[tuple[int, FaceBox, bool]]:
    # A face predicted outside the image has no pixels to classify.
    height, width = image.shape[:2]

    def visible(box: Box) -> bool:
        return bool(0 < (box[0] + box[2]) / 2 < width and 0 < (box[1] + box[3]) / 2 < height)

    return [(number, face, found) for number, face, found in known if found or visible(face.framing_xyxy)]
