"""Recognize the emotions of all faces in an image: detect, crop, classify."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ImageError, ParamsError
from fer_pipeline.imaging import UInt8Array, crop, crop_rotated, rotate_box90, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.faces import Box, FaceBox, FaceDetector, crop_box
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.detection.upright import detect_upright
from fer_pipeline.inference.face_emotion import LOW_CONFIDENCE, UNCERTAIN, FaceEmotion
from fer_pipeline.inference.neutral.reference import DEFAULT_TAU, NeutralReference
from fer_pipeline.inference.pictures.recognition import Picture, Recognition
from fer_pipeline.inference.pictures.sources import PictureSource, Source, is_several, pictures_of
from fer_pipeline.inference.pretrained import DEFAULT_MODEL, model_folder
from fer_pipeline.inference.quality import FacePose, FaceQuality, measure, share_outside
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import ModelInfo

DEFAULT_THRESHOLD = 0.4
"""Minimum calibrated probability of an emotion, else it is "uncertain".

Of the predictions below it, more than 6 in 10 would be wrong.
"""

_PICTURES_AT_ONCE = 8

LEVEL_DEGREES = 15.0
"""Faces tilted by at most this are cropped without rotation, as in FER-2013.

Measured on 1,500 validation faces that were rotated in their image and found again by YuNet, accuracy without and with rotation
to level eyes: 57.3 and 57.5 % at 10 degrees, 54.5 and 56.6 at 20, 46.9 and 59.3 at 30, 31.7 and 54.1 at 45. At 0 degrees both
are equal.
"""


class Recognizer:
    """Face detector and emotion classifier; safe to call from several threads."""

    def __init__(self, classifier: EmotionClassifier, detector: FaceDetector, threshold: float = DEFAULT_THRESHOLD) -> None:
        """Combine a classifier and a detector.

        `threshold` in 0..1 is the probability below which the emotion is "uncertain"; with 0 there is always an emotion. Raises
        `ParamsError` where it is outside 0..1.
        """
        if not 0 <= threshold <= 1:
            raise ParamsError(f"threshold is {threshold}, expected a probability in 0..1")
        self.classifier = classifier
        self.detector = detector
        self.threshold = threshold

    @classmethod
    def load(
        cls, model: str | Path, detector: FaceDetector | str | None = None, threshold: float = DEFAULT_THRESHOLD
    ) -> Recognizer:
        """Load the recognizer of a model.

        `model` is the name of a pretrained model ("fast"), the folder of an exported model, or "champion" or "challenger" of the
        workspace. `detector` is a detector, its name ("centerface", "yunet", "haar") or the path of YuNet's file; None is the one
        of the model's image spec. Raises `ModelError` where there is no such name or folder, or the model does not load.
        """
        folder = model_folder(model) if isinstance(model, str) else model
        classifier = EmotionClassifier.load(folder)
        if detector is None or isinstance(detector, str):
            detector = select_detector(detector or classifier.info.image_spec.detector, folder)
        return cls(classifier, detector, threshold)

    @property
    def info(self) -> ModelInfo:
        """Metadata of the model."""
        return self.classifier.info

    def recognize(self, source: Source, *, bgr: bool = False, neutral: NeutralReference | Source | None = None) -> Recognition:
        """Recognize the faces of a picture, or of several.

        `source` is a path, bytes, an open file, a PIL image or an array, uint8 RGB (H, W, 3) or gray (H, W); or a folder, or a
        list of such. With `bgr` the channels of arrays are in the order of OpenCV. Returns a list of the faces, largest first;
        empty where there is no face.

        `neutral` is a `reference`, or the pictures to make one of: how one person looks without an expression. Every face of
        `source` is then read relative to it, so give it with pictures of that person; `neutral_reference` of each face says so.

        Where no upright face is found, the image is searched again rotated by 90, 180 and 270 degrees
        (`detection.upright.detect_upright`). Raises `ImageError` where one picture cannot be read; of several it is among the
        `errors` of the result. With `neutral` it raises what `reference` and `relative_to` raise.
        """
        if neutral is not None and not isinstance(neutral, NeutralReference):
            neutral = self.reference(neutral, bgr=bgr)
        several = is_several(source)
        sources = pictures_of(source, bgr=bgr)
        batches = iter(lambda: tuple(islice(sources, _PICTURES_AT_ONCE)), ())
        pictures = [picture for batch in batches for picture in self.recognize_sources(batch, keep=not several, neutral=neutral)]
        if not several and pictures[0].error is not None:
            raise ImageError(pictures[0].error)
        return Recognition(pictures, self.info)

    def reference(self, pictures: Source, *, bgr: bool = False, tau: float = DEFAULT_TAU) -> NeutralReference:
        """Read a person's neutral face, to recognize that person's other faces by.

        `pictures` is one picture or several, as for `recognize`, each with one face and all of one person, who shows no
        expression. `tau`, in nats, is how much likelier neutral becomes. The reference is of this model alone. Raises
        `ImageError` where a picture cannot be read, or has no face or several, and `ParamsError` for a `tau` below 0.
        """
        faces = [picture.only_face() for picture in self.recognize(pictures, bgr=bgr).pictures]
        return NeutralReference.of([face.probabilities for face in faces], self.info.fingerprint, tau)

    def relative_to(self, reference: NeutralReference, face: FaceEmotion) -> FaceEmotion:
        """Return the answer on a face relative to a person's neutral face.

        Raises `ModelError` where the reference was made by another model.
        """
        reference.check_model(self.info.fingerprint)
        probabilities = reference.relative(face.probabilities)
        emotion = self.name_of(probabilities, relative=True)
        doubts = tuple(reason for reason in face.reasons if reason != LOW_CONFIDENCE)
        return replace(
            face,
            probabilities=probabilities,
            emotion=emotion,
            reasons=(LOW_CONFIDENCE, *doubts) if emotion == UNCERTAIN else doubts,
            neutral_reference=reference.origin,
        )

    def recognize_sources(
        self, sources: Sequence[PictureSource], *, keep: bool, neutral: NeutralReference | None = None
    ) -> Iterator[Picture]:
        """Recognize the faces of pictures that are read now, as one batch.

        Yields them in their order; one that cannot be read has an error. Without `keep` they are read again where they are drawn.
        `neutral` is as for `recognize`.
        """
        images: list[UInt8Array] = []
        errors: dict[int, str] = {}
        for number, source in enumerate(sources):
            try:
                images.append(source.read())
            except ImageError as error:
                errors[number] = str(error)
        read = zip(images, self.recognize_many(images), strict=True)
        for number, source in enumerate(sources):
            if number in errors:
                yield Picture(source.file, None, (), errors[number], read=source.read)
                continue
            image, faces = next(read)
            if neutral is not None:
                faces = [self.relative_to(neutral, face) for face in faces]
            again = partial(np.asarray, image) if keep else source.read
            yield Picture(source.file, (image.shape[1], image.shape[0]), tuple(faces), read=again)

    def recognize_cut(self, image: UInt8Array) -> list[tuple[FaceEmotion, UInt8Array]]:
        """Recognize the faces of an image, each with its crop.

        The crop is upright, square and in the image's colours. `imaging.to_model_input` of the crop is what the network saw.
        """
        return self._recognize_cut([image])[0]

    def largest_face(self, image: UInt8Array) -> UInt8Array | None:
        """Crop the largest face of an image, upright and square; None without a face.

        `image` is RGB (H, W, 3) or gray (H, W).
        """
        found = self.recognize_cut(image)
        return found[0][1] if found else None

    def recognize_many(self, images: Sequence[UInt8Array]) -> list[list[FaceEmotion]]:
        """Recognize the faces of several images; all faces are classified as one batch."""
        return [[face for face, _ in faces] for faces in self._recognize_cut(images)]

    def recognize_found(self, images: Sequence[tuple[UInt8Array, Sequence[FaceBox]]]) -> list[list[FaceEmotion]]:
        """Recognize faces that were detected before, in their order, as one batch.

        A face that is tilted by more than `LEVEL_DEGREES` is rotated to level eyes.
        """
        return [[face for face, _ in faces] for faces in self._classify_found(images)]

    def recognize_face(self, image: UInt8Array) -> FaceEmotion:
        """Recognize an image that is one face in the framing of FER-2013.

        RGB or gray, of any size.
        """
        return self._result(self._probabilities([image])[0], measure(image), None)

    def recognize_prepared(self, model_input: UInt8Array) -> FaceEmotion:
        """Recognize a model input uint8 (48, 48, 1), such as a row of the processed table."""
        return self._result(self.classifier.probabilities(model_input[np.newaxis])[0], measure(model_input[:, :, 0]), None)

    def name_of(self, probabilities: Sequence[float], *, relative: bool = False) -> str:
        """Return the most probable label, or "uncertain" below the threshold.

        Where the probabilities are `relative` to the person's neutral face, neutral is what is left where nothing speaks for an
        expression: it is never uncertain.
        """
        best = int(np.argmax(probabilities))
        if probabilities[best] >= self.threshold or (relative and EMOTIONS[best] == "neutral"):
            return EMOTIONS[best]
        return UNCERTAIN

    def _recognize_cut(self, images: Sequence[UInt8Array]) -> list[list[tuple[FaceEmotion, UInt8Array]]]:
        searched = [detect_upright(self.detector, image) for image in images]
        results = self._classify_found([(image, found) for image, found, _ in searched])
        return [
            [(_rotated_back(face, image, quarters), cut) for face, cut in faces] if quarters else faces
            for (image, _, quarters), faces in zip(searched, results, strict=True)
        ]

    def _classify_found(
        self, images: Sequence[tuple[UInt8Array, Sequence[FaceBox]]]
    ) -> list[list[tuple[FaceEmotion, UInt8Array]]]:
        scale = self.info.image_spec.crop_scale
        boxes = [(image, face, crop_box(face, scale)) for image, found in images for face in found]
        crops = [crop_face(image, face, box) for image, face, box in boxes]
        rows = self._probabilities(crops)
        faces = iter(
            (
                replace(
                    self._result(row, measure(cut, share_outside(box, image)), face), image_size=(image.shape[1], image.shape[0])
                ),
                cut,
            )
            for (image, face, box), cut, row in zip(boxes, crops, rows, strict=True)
        )
        return [[next(faces) for _ in found] for _, found in images]

    def _probabilities(self, crops: list[UInt8Array]) -> npt.NDArray[np.float64]:
        if not crops:
            return np.zeros((0, len(EMOTIONS)))
        return self.classifier.probabilities(np.stack([to_model_input(cut, self.info.image_spec) for cut in crops]))

    def _result(self, row: npt.NDArray[np.float64], quality: FaceQuality, found: FaceBox | None) -> FaceEmotion:
        probabilities = tuple(float(p) for p in row)
        emotion = self.name_of(probabilities)
        reasons = (LOW_CONFIDENCE, *quality.reasons) if emotion == UNCERTAIN else quality.reasons
        box, score, pose = (found.box_xyxy, found.score, FacePose.of(found)) if found else (None, None, None)
        return FaceEmotion(box, score, probabilities, emotion, quality, reasons, pose=pose)


def recognize(
    source: Source,
    *,
    model: str | Path = DEFAULT_MODEL,
    bgr: bool = False,
    threshold: float = DEFAULT_THRESHOLD,
    neutral: NeutralReference | Source | None = None,
) -> Recognition:
    """Recognize the faces of a picture, or of several, with a pretrained model.

    `source`, `bgr`, `neutral` and the result are those of `Recognizer.recognize`, `model` and `threshold` those of
    `Recognizer.load`; a model is loaded once.
    """
    return _loaded(model, threshold).recognize(source, bgr=bgr, neutral=neutral)


@lru_cache(maxsize=4)
def _loaded(model: str | Path, threshold: float) -> Recognizer:
    return Recognizer.load(model, threshold=threshold)


def crop_face(image: UInt8Array, face: FaceBox, box: Box) -> UInt8Array:
    """Crop `box`; level the eyes of a face tilted by more than `LEVEL_DEGREES`."""
    tilt = face.tilt
    return crop(image, box) if tilt is None or abs(tilt) <= LEVEL_DEGREES else crop_rotated(image, box, tilt)


def _rotated_back(face: FaceEmotion, rotated: UInt8Array, quarters: int) -> FaceEmotion:
    box = None if face.box_xyxy is None else rotate_box90(face.box_xyxy, rotated, 4 - quarters)
    height, width = rotated.shape[:2]
    size = (height, width) if quarters % 2 else (width, height)
    pose = face.pose and face.pose.rotated(quarters)
    return replace(face, box_xyxy=box, rotation=90 * quarters, pose=pose, image_size=size)
