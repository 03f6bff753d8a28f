from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fer_pipeline.inference.output_schema import DIGITS, FIELDS, SUM_TOLERANCE, columns
from fer_pipeline.inference.pictures.face_table import PICTURE_COLUMNS, picture_rows
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.tracking import TrackedFace
from fer_pipeline.inference.video.table import SCHEMA
from fer_pipeline.inference.video.writers import table_row
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.scoring.faces import SCORES
from fer_pipeline.serving.http.schemas import Face


@pytest.fixture
def recognizer(brightness_model: Path) -> Recognizer:
    return Recognizer.load(brightness_model)


def test_a_row_has_a_column_per_emotion(recognizer: Recognizer, drawn_face: npt.NDArray[np.uint8]) -> None:
    (face,) = recognizer.recognize(drawn_face)
    table = pd.DataFrame(picture_rows([face, face], recognizer.info, file="a.jpg", size=(640, 480)))
    assert tuple(table.columns) == PICTURE_COLUMNS
    assert table[["file", "faces", "face", "picture_width"]].to_numpy().tolist() == [["a.jpg", 2, 1, 640], ["a.jpg", 2, 2, 640]]
    assert table.loc[0, list(EMOTIONS)].tolist() == pytest.approx(face.probabilities, abs=0.00005)
    assert face.box is not None
    assert table.loc[0, ["x", "y", "width", "height"]].tolist() == pytest.approx(face.box, abs=0.051)
    assert table.loc[0, ["emotion", "top_emotion"]].tolist() == [face.emotion, face.top_emotion]
    assert table.loc[0, ["model", "fingerprint"]].tolist() == ["brightness", recognizer.info.fingerprint]
    assert table["size"].dtype == table["detection_score"].dtype == np.float64


def test_a_picture_without_face_or_unreadable_has_one_row(recognizer: Recognizer) -> None:
    (empty,) = picture_rows([], recognizer.info, file="empty.png", size=(120, 90))
    assert (empty["file"], empty["faces"], empty["face"], empty["error"]) == ("empty.png", 0, None, None)
    (bad,) = picture_rows([], recognizer.info, file="bad.png", size=None, error="damaged")
    assert (bad["faces"], bad["picture_width"], bad["error"], bad["model"]) == (None, None, "damaged", "brightness")
    assert tuple(empty) == tuple(bad) == PICTURE_COLUMNS


def test_an_image_given_as_one_face_has_all_columns_but_no_box(recognizer: Recognizer) -> None:
    face = recognizer.recognize_face(np.full((48, 48), 125, np.uint8))
    (row,) = picture_rows([face], recognizer.info, file=None, size=(48, 48))
    assert tuple(row) == PICTURE_COLUMNS
    assert [row[name] for name in ("x", "y", "width", "height", "detection_score", "roll", "yaw")] == [None] * 7
    assert row["happy"] == row["confidence"]


def test_tables_of_pictures_scores_and_videos_agree(recognizer: Recognizer, drawn_face: npt.NDArray[np.uint8]) -> None:
    """The same names in the same order, made of one schema, and the same values of one face."""
    assert tuple(SCORES.names) == ("row", *[name for name in PICTURE_COLUMNS if name != "neutral_reference"])
    assert tuple(SCHEMA.names) == columns("video")
    (face,) = recognizer.recognize(drawn_face)
    (row,) = picture_rows([face], recognizer.info, file=None, size=(640, 480))
    tracked = TrackedFace(1, face, face.probabilities, face.emotion).as_dict()
    model = {"name": row["model"], "fingerprint": row["fingerprint"]}
    video = dict(zip(columns("video"), table_row({"frame": 0, "time": 0.0, "model": model, **tracked}), strict=True))
    shared = [name for name in PICTURE_COLUMNS if name in video]
    assert {"confidence", "top_emotion", "rotation", "roll", "fingerprint"} < set(shared)
    assert [video[name] for name in shared] == [row[name] for name in shared]


def test_json_has_the_fields_of_the_schema_over_http_too(recognizer: Recognizer, drawn_face: npt.NDArray[np.uint8]) -> None:
    (face,) = recognizer.recognize(drawn_face)
    values = face.as_dict()
    fields = {field.path.removeprefix("faces[].").split(".")[0] for field in FIELDS if (field.path or "").startswith("faces[].")}
    assert set(values) == fields
    assert Face(**values).model_dump() == {**values, "feedback": None}


def test_floats_are_rounded(recognizer: Recognizer, drawn_face: npt.NDArray[np.uint8]) -> None:
    values = recognizer.recognize(drawn_face)[0].as_dict()
    floats = [value for part in values.values() for value in (part.values() if isinstance(part, dict) else [part])]
    assert all(value == round(value, DIGITS) for value in floats if isinstance(value, float))
    assert sum(values["probabilities"].values()) == pytest.approx(1, abs=SUM_TOLERANCE)
