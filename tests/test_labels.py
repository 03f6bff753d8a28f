from __future__ import annotations

import pytest

from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, NUMBERINGS, SYNONYMS, emotion_index, label_number, numbering_codes


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
        ("3.0", 3),  # as pandas writes a column with gaps
    ],
)
def test_names_synonyms_and_digits_are_understood(name: str, index: int) -> None:
    assert emotion_index(name) == index


@pytest.mark.parametrize("name", ["7", "-1", "", "contempt", "3.5", "7.0", "²"])
def test_other_words_are_refused_with_the_word_in_the_message(name: str) -> None:
    with pytest.raises(ValueError, match="is not one of"):
        emotion_index(name)


def test_every_synonym_stands_for_one_of_the_seven() -> None:
    assert set(SYNONYMS.values()) <= set(EMOTIONS)
    assert not set(SYNONYMS) & set(EMOTIONS)


def test_ferplus_has_ten_columns() -> None:
    assert len(set(FERPLUS_COLUMNS)) == 10


@pytest.mark.parametrize(("label", "number"), [("3", 3), (" 03.00 ", 3), ("3.", 3), ("3.5", None), ("-1", None), ("happy", None)])
def test_whole_numbers_are_labels_also_with_a_point(label: str, number: int | None) -> None:
    assert label_number(label) == number


@pytest.mark.parametrize(
    ("numbering", "emotions"),
    [
        ("fer2013", {0: "angry", 3: "happy", 6: "neutral"}),
        ("ferplus", {0: "neutral", 2: "surprise", 4: "angry", 7: "contempt"}),
        ("affectnet", {0: "neutral", 2: "sad", 6: "angry", 7: "contempt", 8: "none"}),
        ("rafdb", {1: "surprise", 6: "angry", 7: "neutral"}),
        ("ckplus", {0: "neutral", 2: "contempt", 7: "surprise"}),
        ("alphabetical7", {0: "angry", 4: "neutral", 6: "surprise"}),
        ("alphabetical8", {0: "angry", 1: "contempt", 7: "surprise"}),
        ("Happiness, sad", {0: "happy", 1: "sad"}),
    ],
)
def test_numberings_are_those_of_the_data_sets(numbering: str, emotions: dict[int, str]) -> None:
    codes = numbering_codes(numbering)
    assert {number: codes[number] for number in emotions} == emotions


def test_each_numbering_has_all_emotions_once() -> None:
    for codes in NUMBERINGS.values():
        assert set(EMOTIONS) <= set(codes.values())
        assert len(set(codes.values())) == len(codes)


@pytest.mark.parametrize("numbering", ["ask", "rafbd", "happy", "happy,sad,happy", "happy,hapy", ""])
def test_an_unknown_numbering_names_the_known_ones(numbering: str) -> None:
    with pytest.raises(ValueError, match=r"expected fer2013, ferplus, affectnet, rafdb, ckplus, .* or each emotion once"):
        numbering_codes(numbering)
