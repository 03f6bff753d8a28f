"""Estimate the neutral faces of people from their tracks in a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.labels import emotion_index

TRACK_TAU: Final = 1.5
"""Nats that neutral gains where the reference comes from the track.

More than with a given one: most frames show the face at rest, each a little otherwise. Chosen on drawn people.
"""

MIN_TRACK_SECONDS: Final = 10.0
"""A person who is seen for less has no estimate."""

SHARE: Final = 1 / 3
"""Share of a person's time in which the face must look nearly the same: the time at rest."""

MIN_NEUTRAL: Final = 0.1
MAX_HAPPY: Final = 0.2
"""Probabilities within which the faces that a person shows most may be those at rest: a smile that lasts is no neutral face."""

_STEP: Final = 0.2  # seconds between two observations; frames within it show nearly the same face
_MAX_OBSERVATIONS: Final = 600  # of a person; then every other one is dropped, and they come half as often
_LEAST: Final = 0.01  # probabilities below it are alike where faces are compared


@dataclass
class _Track:
    first: float
    last: float
    step: float = _STEP
    next: float = float("-inf")
    rows: list[tuple[float, ...]] = field(default_factory=list)

    @property
    def seconds(self) -> float:
        return self.last - self.first


class RestingFaces:
    """Collects what a model reads in the faces of a video, and estimates references.

    Memory is bounded per person. `references` is that of `stream.FaceStream`, and has none: they are known at the end.
    """

    def __init__(self, tau: float = TRACK_TAU) -> None:
        self._tau = tau
        self._tracks: dict[int, _Track] = {}

    def references(self, faces: Mapping[int, Sequence[float]], time: float) -> Mapping[int, NeutralReference]:
        """Take in the faces of the next frame; return nothing."""
        for number, row in faces.items():
            track = self._tracks.setdefault(number, _Track(time, time))
            track.last = time
            if time >= track.next:
                track.rows.append(tuple(row))
                track.next = time + track.step
                if len(track.rows) > _MAX_OBSERVATIONS:
                    track.rows, track.step = track.rows[::2], 2 * track.step
        self._tracks = {
            number: track
            for number, track in self._tracks.items()
            if time - track.last < MIN_TRACK_SECONDS or track.seconds >= MIN_TRACK_SECONDS  # others ended too early
        }
        return {}

    def estimates(self, fingerprint: str) -> dict[int, NeutralReference]:
        """Return the references of the people for whom there is one, by track.

        `fingerprint` is that of the model. A person has one where the track lasts `MIN_TRACK_SECONDS`, and the faces that the
        person shows most read as neutral by `MIN_NEUTRAL` or more, and as happy by `MAX_HAPPY` or less.
        """
        found = {}
        for number, track in self._tracks.items():
            if track.seconds >= MIN_TRACK_SECONDS:
                reference = NeutralReference.of(_most_alike(track.rows), fingerprint, self._tau, "track")
                if _may_be_neutral(reference.probabilities):
                    found[number] = reference
        return found


def _most_alike(rows: Sequence[tuple[float, ...]]) -> list[tuple[float, ...]]:
    """Return the third of the rows that lie closest together: the mode of the track.

    It is that row, with its nearest ones, whose nearest third is within the smallest distance; distances are those of the logs.
    """
    logs: npt.NDArray[np.float64] = np.log(np.maximum(np.asarray(rows), _LEAST))
    distances = np.linalg.norm(logs[:, np.newaxis] - logs[np.newaxis], axis=2)
    count = max(1, round(SHARE * len(rows)))
    centre = int(np.argmin(np.partition(distances, count - 1, axis=1)[:, count - 1]))
    return [rows[index] for index in np.argsort(distances[centre], kind="stable")[:count]]


def _may_be_neutral(probabilities: Sequence[float]) -> bool:
    return probabilities[emotion_index("neutral")] >= MIN_NEUTRAL and probabilities[emotion_index("happy")] <= MAX_HAPPY
