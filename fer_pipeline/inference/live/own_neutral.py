"""The own neutral face of the person before a live camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

from fer_pipeline.inference.neutral.reference import DEFAULT_TAU, NeutralReference
from fer_pipeline.inference.tracking import FORGET_SECONDS

COLLECT_SECONDS: Final = 2.0
"""How long a person shows the neutral face."""

NeutralState = Literal["collecting", "set"]


class OwnNeutral:
    """Collects and holds one reference, in memory alone; not safe for several threads.

    It belongs to the track of the largest face while it was collected. Once that track is over, it goes to a face that is alone
    in view, since people leave and come back. `references` is that of `stream.FaceStream`.
    """

    def __init__(self, tau: float = DEFAULT_TAU) -> None:
        self._tau = tau
        self._fingerprint = ""
        self._reference: NeutralReference | None = None
        self._track: int | None = None
        self._seen = 0.0  # when the track was in view last
        self._rows: list[Sequence[float]] | None = None  # while it is collected
        self._end: float | None = None

    @property
    def state(self) -> NeutralState | None:
        """Return what it does; None without a reference.

        It is None again where no face came while it was collected.
        """
        if self._rows is not None:
            return "collecting"
        return "set" if self._reference is not None else None

    def collect(self, fingerprint: str) -> None:
        """Take the face of the next `COLLECT_SECONDS` as neutral.

        `fingerprint` is that of the model whose probabilities come; where another one takes over, `clear` is called first.
        """
        self.clear()
        self._fingerprint, self._rows = fingerprint, []

    def clear(self) -> None:
        """Forget the reference."""
        self._reference = self._track = self._rows = self._end = None

    def references(self, faces: Mapping[int, Sequence[float]], time: float) -> Mapping[int, NeutralReference]:
        """Take in the faces of the next frame; return the reference by track."""
        if self._rows is not None:
            self._take(faces, time)
        if self._reference is None:
            return {}
        if self._track in faces:
            self._seen = time
        elif len(faces) == 1 and time - self._seen > FORGET_SECONDS:
            (self._track,), self._seen = faces, time
        return {track: self._reference for track in faces if track == self._track}

    def _take(self, faces: Mapping[int, Sequence[float]], time: float) -> None:
        assert self._rows is not None
        if self._end is None:
            self._end = time + COLLECT_SECONDS
        if self._track is None:
            self._track = next(iter(faces), None)
        if self._track is not None and self._track in faces:
            self._rows.append(faces[self._track])
            self._seen = time
        if time >= self._end:
            self._reference = NeutralReference.of(self._rows, self._fingerprint, self._tau) if self._rows else None
            self._rows = self._end = None
