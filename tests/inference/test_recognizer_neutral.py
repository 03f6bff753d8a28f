"""Faces relative to a person's own neutral face; class i of the model is the likelier the nearer the gray is to 20 + 35 i."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fer_pipeline import recognize
from fer_pipeline.errors import ImageError, ModelError, ParamsError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.inference.recognizer import Recognizer


@pytest.fixture
def recognizer(brightness_model: Path, blobs: Any) -> Recognizer:
    return Recognizer.load(brightness_model, blobs)


def test_the_own_neutral_face_is_neutral_and_others_change(recognizer: Recognizer, spots: Any) -> None:
    """A person whose neutral face is as bright as "sad" is; twice as bright means something else."""
    resting, other = spots((40, 30, 50, 160)), spots((40, 30, 50, 90))
    reference = recognizer.reference(resting)
    (without,), (face,) = recognizer.recognize(resting), recognizer.recognize(resting, neutral=reference)
    assert (without.emotion, without.neutral_reference) == ("sad", None)
    assert (face.top_emotion, face.neutral_reference) == ("neutral", "given")
    assert face.probabilities == reference.relative(without.probabilities)
    assert face.as_dict()["neutral_reference"] == "given"
    (changed,) = recognizer.recognize(other, neutral=resting)
    (plain,) = recognizer.recognize(other)
    assert changed.probabilities == reference.relative(plain.probabilities)


def test_without_a_reference_nothing_changes(recognizer: Recognizer, spots: Any) -> None:
    picture = spots((10, 10, 40, 90), (90, 10, 40, 230))
    recognizer.reference(spots((40, 30, 50, 160)))
    rows = recognizer.classifier.probabilities(np.array([np.full((48, 48, 1), gray, np.uint8) for gray in (90, 230)]))
    assert [face.probabilities for face in recognizer.recognize(picture)] == [tuple(row) for row in rows.tolist()]
    assert recognizer.recognize(picture, neutral=None) == recognizer.recognize(picture)


def test_every_face_is_read_relative_to_it_and_says_so(recognizer: Recognizer, spots: Any, tmp_path: Path) -> None:
    file = tmp_path / "two.png"
    Image.fromarray(spots((10, 10, 40, 90), (90, 10, 40, 230))).save(file)
    found = recognizer.recognize([file, tmp_path / "none.png"], neutral=spots((40, 30, 50, 160)))
    assert [face.neutral_reference for face in found] == ["given", "given"]
    assert [picture.file for picture in found.errors] == [str(tmp_path / "none.png")]
    assert found.to_pandas()["neutral_reference"].tolist() == ["given", "given", None]


def test_neutral_is_never_uncertain_but_an_expression_may_be(brightness_model: Path, blobs: Any, spots: Any) -> None:
    """Relative to itself a face is neutral by tau alone, 2.1 of 8.1 parts: nothing speaks for an expression."""
    recognizer = Recognizer.load(brightness_model, blobs, threshold=0.95)
    resting = spots((40, 30, 50, 160))
    (face,) = recognizer.recognize(resting, neutral=resting)
    assert (face.emotion, face.confidence) == ("neutral", pytest.approx(2.117 / 8.117, abs=1e-4))
    assert "low_confidence" not in face.reasons
    (other,) = recognizer.recognize(spots((40, 30, 50, 120)), neutral=resting)
    assert (other.emotion, other.top_emotion, other.reasons[0]) == ("uncertain", "angry", "low_confidence")


def test_several_pictures_make_one_reference(recognizer: Recognizer, spots: Any) -> None:
    pictures = [spots((40, 30, 50, gray)) for gray in (150, 160, 170)]
    rows = [recognizer.recognize(picture)[0].probabilities for picture in pictures]
    assert recognizer.reference(pictures, tau=0.5) == NeutralReference.of(rows, recognizer.info.fingerprint, 0.5)


@pytest.mark.parametrize(
    ("squares", "words"),
    [
        ([], r"no face found, expected the face of one person: give a picture in which it is seen whole"),
        ([(10, 10, 40, 90), (90, 10, 40, 230)], r"2 faces found, expected the face of one person: cut that person out"),
    ],
)
def test_a_neutral_picture_has_exactly_one_face(
    recognizer: Recognizer, spots: Any, tmp_path: Path, squares: list[tuple[int, ...]], words: str
) -> None:
    file = tmp_path / "neutral.png"
    Image.fromarray(spots(*squares)).save(file)
    with pytest.raises(ImageError, match=f"neutral.png: {words}"):
        recognizer.reference([file])
    with pytest.raises(ImageError, match=f"picture: {words}"):
        recognizer.recognize(spots((40, 30, 50, 160)), neutral=spots(*squares))


def test_a_neutral_picture_that_cannot_be_read_is_named(recognizer: Recognizer, spots: Any, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"missing\.png: No such file"):
        recognizer.recognize(spots((40, 30, 50, 160)), neutral=[spots((40, 30, 50, 160)), tmp_path / "missing.png"])
    with pytest.raises(ParamsError, match="at least one neutral face"):
        recognizer.reference([])


def test_a_reference_of_another_model_is_refused(recognizer: Recognizer, drawn_face: UInt8Array) -> None:
    reference = Recognizer.load("fast").reference(drawn_face)
    with pytest.raises(ModelError, match=f"made by the model {reference.fingerprint}, and this is {recognizer.info.fingerprint}"):
        recognizer.recognize(drawn_face, neutral=reference)


def test_the_function_takes_a_neutral_picture_too(brightness_model: Path, drawn_face: UInt8Array) -> None:
    (face,) = recognize(drawn_face, model=brightness_model, neutral=drawn_face, threshold=0)
    assert (face.emotion, face.neutral_reference) == ("neutral", "given")
