"""Draw labelled synthetic faces from a seed; no real person is in them.

For trying the pipeline, not for real pictures: a model trained on these says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_pipeline.data.raw_table import RawRow
from fer_pipeline.data.synthetic.face import draw_face
from fer_pipeline.errors import SourceError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS

EMOTION_ACTION_UNITS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType(
    {
        "angry": (4, 5, 7, 23),
        "disgust": (9, 15, 16),
        "fear": (1, 2, 4, 5, 20, 26),
        "happy": (6, 12),
        "sad": (1, 4, 15),
        "surprise": (1, 2, 5, 26),
        "neutral": (),
    }
)
"""Action units of each emotion (Ekman, Friesen: EMFACS, 1983; the numbers are those of FACS)."""

CLASS_SHARES: Final = MappingProxyType(
    {"angry": 0.136, "disgust": 0.04, "fear": 0.140, "happy": 0.245, "sad": 0.165, "surprise": 0.108, "neutral": 0.166}
)
"""Share of each emotion: that of FER-2013, but disgust 4 % instead of 1.5 %, so that small sets have enough of it."""

USAGE_SHARES: Final = MappingProxyType({"Training": 0.8, "PublicTest": 0.1, "PrivateTest": 0.1})
"""Share of each usage, within each emotion."""

MIN_FACES: Final = len(EMOTIONS) * len(USAGE_SHARES)
"""One face per emotion and usage."""


def draw_faces(count: int, seed: int) -> tuple[UInt8Array, npt.NDArray[np.int8]]:
    """Draw faces uint8 (N, 48, 48) and class ids int8 (N,), in the order of `plan`.

    Equal `count` and `seed` give equal faces.
    """
    _, labels = plan(count, seed)
    faces = np.empty((count, FACE_SIZE, FACE_SIZE), np.uint8)
    for number, label in enumerate(labels):
        faces[number] = _draw(seed, number, int(label))
    return faces, labels


def plan(count: int, seed: int) -> tuple[tuple[str, ...], npt.NDArray[np.int8]]:
    """Return usage and class id (int8) of each face.

    Usages are Training, PublicTest and PrivateTest, in this order, with every emotion in each of them. Raises `SourceError`
    where `count` is below `MIN_FACES`.
    """
    if count < MIN_FACES:
        raise SourceError(f"faces = {count}: at least {MIN_FACES} are needed for 7 emotions in 3 splits")
    per_class = _portions(count, tuple(CLASS_SHARES[name] for name in EMOTIONS), least=len(USAGE_SHARES))
    portions = np.array([_portions(n, tuple(USAGE_SHARES.values()), least=1) for n in per_class])  # (emotion, usage)
    rng = np.random.default_rng([seed, count])
    labels = [rng.permutation(np.repeat(np.arange(len(EMOTIONS), dtype=np.int8), column)) for column in portions.T]
    usages = tuple(usage for usage, drawn in zip(USAGE_SHARES, labels, strict=True) for _ in drawn)
    return usages, np.concatenate(labels)


def raw_rows(count: int, seed: int) -> Iterator[RawRow]:
    """Yield the same faces as rows of a CSV like FER-2013, drawn one by one."""
    usages, labels = plan(count, seed)
    for number, (usage, label) in enumerate(zip(usages, labels.tolist(), strict=True)):
        pixels = " ".join(map(str, _draw(seed, number, label).ravel().tolist()))
        yield RawRow(f"synthetic:{number}", str(label), usage, pixels)


def _draw(seed: int, number: int, label: int) -> UInt8Array:
    rng = np.random.default_rng([seed, number, label])
    return draw_face(rng, _intensities(rng, EMOTIONS[label]))


def _intensities(rng: np.random.Generator, emotion: str) -> dict[int, float]:
    """Draw the strength of each action unit, 0 to about 1.

    Weak and incomplete expressions are common, as in real images.
    """
    every = sorted({unit for units in EMOTION_ACTION_UNITS.values() for unit in units})
    strengths = {unit: float(rng.uniform(0, 0.16)) for unit in every}  # small values at rest, too
    overall = rng.uniform(0.4, 1.0)
    for unit in EMOTION_ACTION_UNITS[emotion]:
        if rng.random() > 0.12:
            strengths[unit] += float(overall * rng.uniform(0.6, 1.2))
    return strengths


def _portions(total: int, shares: tuple[float, ...], least: int) -> list[int]:
    """Round `total * shares` to whole numbers of sum `total`, none below `least`."""
    exact = np.array(shares) / sum(shares) * total
    portions = np.maximum(np.floor(exact).astype(int), least)
    while portions.sum() != total:
        step = 1 if portions.sum() < total else -1
        behind = np.where(portions + step >= least, (exact - portions) * step, -np.inf)
        portions[int(np.argmax(behind))] += step
    return [int(portion) for portion in portions]
