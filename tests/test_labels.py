from __future__ import annotations

import pytest

from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, SYNONYMS, emotion_index


def test_the_order_is_that_of_fer_2013() -> None:
    assert EMOTIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("angry", 0),
        (" Happy ", 3),  # blanks and case do not matter
        ("HAPPINESS", 3),  # FER+ and RAF-DB
        ("anger", 0),
        ("fearful", 2),
        ("6", 6),  # the digit of fer2013.csv
    ],
)
def test_names_synonyms_and_digits_are_understood(name: str, index: int) -> None:
    assert emotion_index(name) == index


@pytest.mark.parametrize("name", ["7", "-1", "", "contempt", "3.0", "²"])
def test_other_words_are_refused_with_the_word_in_the_message(name: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        emotion_index(name)


def test_every_synonym_stands_for_one_of_the_seven() -> None:
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert not set(SYNONYMS) & set(EMOTIONS)


def test_ferplus_has_ten_columns() -> None:
    assert len(set(FERPLUS_COLUMNS)) == 10
