"""How a model reads a person's neutral face, and other faces relative to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.labels import EMOTIONS, emotion_index

DEFAULT_TAU: Final = 0.75
"""Nats that neutral gains.

Of 0 to 2, 0.5 to 1 were best on JAFFE (10 persons, posed, two networks); more suits faces that are mostly at rest.
"""

MIN_PROBABILITY: Final = 1e-6
"""Least probability that counts, in a face and in a reference; no emotion is excluded by one picture."""

ReferenceOrigin = Literal["given", "track"]
"""Where a reference comes from: pictures that were given, or the track of a person in a video."""


@dataclass(frozen=True)
class NeutralReference:
    """How one model reads the neutral face of one person.

    `log_probabilities` are the means over that person's neutral pictures of the log of the calibrated probabilities, in nats and
    in the order of `labels.EMOTIONS`. `fingerprint` is that of the model, `pictures` the number of pictures or frames. `tau` is
    added to neutral. Raises `ParamsError` where a number is missing, not finite, or `tau` is below 0.
    """

    log_probabilities: tuple[float, ...]
    fingerprint: str
    pictures: int
    tau: float = DEFAULT_TAU
    origin: ReferenceOrigin = "given"

    def __post_init__(self) -> None:
        if len(self.log_probabilities) != len(EMOTIONS) or not all(map(math.isfinite, self.log_probabilities)):
            raise ParamsError(f"log_probabilities are {self.log_probabilities}, expected {len(EMOTIONS)} finite numbers")
        if not (math.isfinite(self.tau) and self.tau >= 0):
            raise ParamsError(f"tau is {self.tau}, expected 0 or more nats, such as {DEFAULT_TAU}")
        if self.pictures < 1 or self.origin not in get_args(ReferenceOrigin):
            raise ParamsError(
                f"pictures is {self.pictures}, origin {self.origin!r}: expected at least 1, and one of "
                f"{get_args(ReferenceOrigin)}"
            )

    @classmethod
    def of(
        cls,
        rows: Sequence[Sequence[float]],
        fingerprint: str,
        tau: float = DEFAULT_TAU,
        origin: ReferenceOrigin = "given",
    ) -> NeutralReference:
        """Average the probabilities (N, 7) of a person's neutral face.

        Raises `ParamsError` where there are none.
        """
        if not rows:
            raise ParamsError("a reference needs at least one neutral face, got none")
        logs = np.log(np.maximum(np.asarray(rows, np.float64), MIN_PROBABILITY)).mean(axis=0)
        return cls(tuple(float(value) for value in logs), fingerprint, len(rows), tau, origin)

    @property
    def probabilities(self) -> tuple[float, ...]:
        """Return what the model reads in the neutral face itself.

        In the order of `labels.EMOTIONS`; sum 1.
        """
        return _softmax(self.log_probabilities)

    def check_model(self, fingerprint: str) -> None:
        """Check that a model is the one of the reference; raises `ModelError`."""
        if fingerprint != self.fingerprint:
            raise ModelError(
                f"the neutral reference was made by the model {self.fingerprint}, and this is {fingerprint}: make it anew "
                "from its pictures, `Recognizer.reference(pictures)`"
            )

    def relative(self, probabilities: Sequence[float]) -> tuple[float, ...]:
        """Return the probabilities of a face relative to this one; they sum to 1.

        softmax(log p(face) - log p(reference) + tau for neutral): the reference itself becomes neutral by `tau`, and any other
        face is judged by what changed. Both are in the order of `labels.EMOTIONS`.
        """
        logs = [
            math.log(max(p, MIN_PROBABILITY)) - reference
            for p, reference in zip(probabilities, self.log_probabilities, strict=True)
        ]
        logs[emotion_index("neutral")] += self.tau
        return _softmax(logs)


def _softmax(logs: Sequence[float]) -> tuple[float, ...]:
    powers = np.exp(np.asarray(logs) - max(logs))
    return tuple(float(power) for power in powers / powers.sum())
