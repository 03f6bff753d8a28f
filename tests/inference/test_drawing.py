from __future__ import annotations

from pathlib import Path

import numpy as np

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.detection.faces import FaceBox
from fer_pipeline.inference.drawing import COLOURS, annotate
from fer_pipeline.inference.face_emotion import UNCERTAIN
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS


class OneBox:
    """A detector that finds one face in the right half."""

    name = "one box"

    def detect(self, image: UInt8Array) -> list[FaceBox]:
        box = (110.0, 30.0, 190.0, 90.0)
        return [FaceBox(box, box, 0.75)]


def halves() -> UInt8Array:
    """RGB (100, 200): left half as bright as class 0, right half as class 3."""
    image = np.full((100, 200, 3), 20, np.uint8)
    image[:, 100:] = 125
    return image


def test_annotating_draws_into_a_copy(brightness_model: Path) -> None:
    image = halves()
    drawn = annotate(image, Recognizer.load(brightness_model, OneBox()).recognize(image))
    assert (image == halves()).all()
    assert drawn[90, 150].tolist() == list(COLOURS["happy"])
    assert (drawn[5, 5] == image[5, 5]).all()


def test_annotating_a_face_without_a_box_changes_nothing(brightness_model: Path) -> None:
    image = halves()
    assert (annotate(image, [Recognizer.load(brightness_model).recognize_face(image)]) == image).all()


def test_there_is_a_colour_for_each_answer() -> None:
    assert set(COLOURS) == {*EMOTIONS, UNCERTAIN}
