"""The seven emotions in FER-2013 order, and the label codes of other data sets.

This module imports nothing of the project. A model artifact carries its own copy of `EMOTIONS`; loading one asserts equality.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

EMOTIONS: Final = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Label names; the index in this tuple is the class id.

In the order of `fer2013.csv` (Goodfellow et al. 2013).
"""

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
"""Vote columns of `fer2013new.csv` (microsoft/FERPlus) in file order.

Each row of ten annotators sums to 10.
"""

FERPLUS_EMOTIONS: Final = FERPLUS_COLUMNS[:8]
"""The vote columns that name an emotion."""

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
"""Synonyms of the seven emotions in data sets, lower case."""

CKPLUS_CODES: Final = MappingProxyType(
    {0: "neutral", 1: "angry", 2: "contempt", 3: "disgust", 4: "fear", 5: "happy", 6: "sad", 7: "surprise"}
)
"""Codes of the files `*_emotion.txt` of CK+ (Lucey et al. 2010).

0 is used for the first image of a sequence.
"""

JAFFE_CODES: Final = MappingProxyType(
    {"NE": "neutral", "HA": "happy", "SA": "sad", "SU": "surprise", "AN": "angry", "DI": "disgust", "FE": "fear"}
)
"""Codes in the file names of JAFFE (Lyons et al. 1998): `KA.AN1.39.tiff` is angry."""

RAFDB_CODES: Final = MappingProxyType({1: "surprise", 2: "fear", 3: "disgust", 4: "happy", 5: "sad", 6: "angry", 7: "neutral"})
"""Codes of `list_patition_label.txt` of RAF-DB basic (Li and Deng 2017), from 1."""

AFFECTNET_CODES: Final = MappingProxyType(
    {
        0: "neutral",
        1: "happy",
        2: "sad",
        3: "surprise",
        4: "fear",
        5: "disgust",
        6: "angry",
        7: "contempt",
        8: "none",
        9: "uncertain",
        10: "no face",
    }
)
"""Codes of AffectNet's column `expression` and class folders.

Mollahosseini et al. 2017.
"""


def emotion_index(name: str) -> int:
    """Return the class id 0..6 of an emotion given by name, synonym or digit.

    Case and surrounding spaces are ignored. Raises `ValueError` for any other text.
    """
    word = name.strip().lower()
    if word.isdecimal() and word.isascii() and int(word) < len(EMOTIONS):
        return int(word)
    word = SYNONYMS.get(word, word)
    if word not in EMOTIONS:
        raise ValueError(f"label {name!r} is not one of 0-{len(EMOTIONS) - 1}, {', '.join(EMOTIONS)}")
    return EMOTIONS.index(word)


def common_name(name: str) -> str:
    """Replace a synonym by its name in `EMOTIONS`; others become lower case."""
    word = name.strip().lower()
    return SYNONYMS.get(word, word)
