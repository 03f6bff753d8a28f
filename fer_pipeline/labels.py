"""The seven emotions in FER-2013 order, and the label codes of other data sets.

This module imports nothing of the project. A model artifact carries its own copy of `EMOTIONS`; loading one asserts equality.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
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


CONTEMPT: Final = "contempt"
"""The eighth emotion of FER+, AffectNet and CK+, which FER-2013 lacks."""

NUMBERINGS: Final[Mapping[str, Mapping[int, str]]] = MappingProxyType(
    {
        "fer2013": MappingProxyType(dict(enumerate(EMOTIONS))),
        "ferplus": MappingProxyType({i: SYNONYMS.get(name, name) for i, name in enumerate(FERPLUS_EMOTIONS)}),
        "affectnet": AFFECTNET_CODES,
        "rafdb": RAFDB_CODES,
        "ckplus": CKPLUS_CODES,
        "alphabetical7": MappingProxyType(dict(enumerate(sorted(EMOTIONS)))),
        "alphabetical8": MappingProxyType(dict(enumerate(sorted((*EMOTIONS, CONTEMPT))))),
    }
)
"""What a number means as a label in each data set.

The alphabetical ones are those of tools that number class folders by their names, with and without contempt.
"""


def numbering_codes(numbering: str) -> Mapping[int, str]:
    """Return the emotion of each number in a numbering.

    `numbering` is a key of `NUMBERINGS`, or the emotions in their order from 0, separated by commas. Raises `ValueError`.
    """
    if numbering in NUMBERINGS:
        return NUMBERINGS[numbering]
    names = [common_name(word) for word in numbering.split(",")]
    wrong = [name for name in names if name not in (*EMOTIONS, CONTEMPT)]
    if wrong or len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"numbering {numbering!r}, expected {', '.join(NUMBERINGS)}, or each emotion once in the order from 0, such as "
            "neutral,happy,sad,surprise,fear,disgust,angry"
        )
    return dict(enumerate(names))


def label_number(label: str) -> int | None:
    """Return the whole number that a label is, 3 for "3" and "3.0"; else None."""
    match = re.fullmatch(r"([0-9]{1,9})(?:\.0*)?", label.strip())
    return int(match[1]) if match else None


def emotion_index(name: str) -> int:
    """Return the class id 0..6 of an emotion: name, synonym, or "3", "3.0".

    Case and surrounding spaces are ignored. Raises `ValueError` for any other text.
    """
    number = label_number(name)
    if number is not None and number < len(EMOTIONS):
        return number
    word = common_name(name)
    if word not in EMOTIONS:
        raise ValueError(f"label {name!r} is not one of 0-{len(EMOTIONS) - 1}, {', '.join(EMOTIONS)}")
    return EMOTIONS.index(word)


def common_name(name: str) -> str:
    """Replace a synonym by its name in `EMOTIONS`; others become lower case."""
    word = name.strip().lower()
    return SYNONYMS.get(word, word)
