"""The seven emotions in FER-2013 order, and the maps from the names and codes of other data sets.

This module imports nothing of the project. A model artifact carries its own copy of `EMOTIONS`; loading one asserts equality.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Label names; the index in this tuple is the class id (Goodfellow et al. 2013, the order of `fer2013.csv`)."""

FERPLUS_COLUMNS: Final = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)
"""Vote columns of `fer2013new.csv` (microsoft/FERPlus) in file order; each row of ten annotators sums to 10."""

SYNONYMS: Final = MappingProxyType(
    {
        "anger": "angry",
        "disgusted": "disgust",
        "fearful": "fear",
        "afraid": "fear",
        "scared": "fear",
        "happiness": "happy",
        "joy": "happy",
        "sadness": "sad",
        "surprised": "surprise",
        "calm": "neutral",
    }
)
"""Other names that data sets use for the seven emotions, lower case."""


def emotion_index(name: str) -> int:
    """Class id 0..6 of an emotion given by name, by a usual synonym, or by its digit; case and blanks do not matter.

    Raises `ValueError` where the name is none of them.
    """
    word = name.strip().lower()
    if word.isdecimal() and word.isascii() and int(word) < len(EMOTIONS):
        return int(word)
    word = SYNONYMS.get(word, word)
    if word not in EMOTIONS:
        raise ValueError(f"label {name!r} is not one of 0-{len(EMOTIONS) - 1}, {', '.join(EMOTIONS)}")
    return EMOTIONS.index(word)
