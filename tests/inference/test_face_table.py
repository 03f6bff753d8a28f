from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from fer_pipeline.inference.face_table import FACE_COLUMNS, face_rows
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.scoring.faces import SCORES


@pytest.fixture
def recognizer(brightness_model: Path) -> Recognizer:
    return Recognizer.load(brightness_model)


def test_pandas_reads_the_rows_with_a_column_per_emotion(recognizer: Recognizer, drawn_face: npt.NDArray[np.uint8]) -> None:
    """Pandas takes the rows as a table with a column for each emotion."""
    (face,) = recognizer.recognize(drawn_face)
    table = pd.DataFrame(face_rows([face, face], picture="a.jpg", album=7))
    assert list(table.columns) == ["picture", "album", *FACE_COLUMNS]
    assert table[["picture", "album", "face"]].to_numpy().tolist() == [["a.jpg", 7, 1], ["a.jpg", 7, 2]]
    assert table.loc[0, list(EMOTIONS)].tolist() == list(face.probabilities)
    assert face.box_xyxy is not None
    assert table.loc[0, ["x", "y"]].tolist() == pytest.approx(face.box_xyxy[:2], abs=0.05)
    assert table.loc[0, ["emotion", "top_emotion"]].tolist() == [face.emotion, face.top_emotion]
    assert table["size"].dtype == table["detection_score"].dtype == np.float64


def test_a_picture_without_face_has_no_rows(recognizer: Recognizer) -> None:
    assert face_rows(recognizer.recognize(np.full((90, 120), 128, np.uint8)), picture="empty.png") == []


def test_an_image_given_as_one_face_has_all_columns_but_no_box(recognizer: Recognizer) -> None:
    """A image that was given as one face has all columns but no box."""
    (row,) = face_rows([recognizer.recognize_face(np.full((48, 48), 125, np.uint8))])
    assert tuple(row) == FACE_COLUMNS
    assert [row[name] for name in ("x", "y", "width", "height", "detection_score")] == [None] * 5
    assert row["happy"] == row["confidence"]


def test_batch_scoring_in_spark_names_its_columns_the_same() -> None:
    assert tuple(name for name in SCORES.names if name in FACE_COLUMNS) == FACE_COLUMNS
