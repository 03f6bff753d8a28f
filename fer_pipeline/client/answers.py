"""Answers of the service as typed values; docs/outputs.md has their fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from fer_pipeline.errors import FerError


class ServiceError(FerError):
    """A request that the service did not serve.

    `status` is that of HTTP, `code` and the message are the service's. `retry_seconds` is its Retry-After; None without.
    """

    def __init__(self, status: int, code: str, message: str, retry_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.retry_seconds = retry_seconds


class Box(NamedTuple):
    """Left, top, width and height."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    `box` is in pixels of the upright picture, `relative_box` in shares of its width and height; None where it is one face.
    `values` has all that the service said of the face. `feedback` is the token for a correction; None where the operator takes
    none.
    """

    box: Box | None
    relative_box: Box | None
    emotion: str
    top_emotion: str
    confidence: float
    probabilities: Mapping[str, float]
    reasons: tuple[str, ...]
    feedback: str | None
    values: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Face:
        """Read the JSON of a face."""
        box, relative_box = (None if values[name] is None else Box(**values[name]) for name in ("box", "relative_box"))
        return cls(
            box=box,
            relative_box=relative_box,
            emotion=values["emotion"],
            top_emotion=values["top_emotion"],
            confidence=values["confidence"],
            probabilities=values["probabilities"],
            reasons=tuple(values["reasons"]),
            feedback=values["feedback"],
            values=values,
        )


@dataclass(frozen=True)
class Model:
    """Model that answered; `values` has all that the service said of it."""

    name: str
    fingerprint: str
    values: Mapping[str, Any]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Model:
        """Read the JSON of a model."""
        return cls(values["name"], values["fingerprint"], values)


@dataclass(frozen=True)
class Picture:
    """Faces of one picture of a batch, or the `error` for which it could not be read.

    `size` is (width, height) in pixels; None after an error.
    """

    faces: tuple[Face, ...]
    size: tuple[int, int] | None
    error: ServiceError | None

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Picture:
        """Read the JSON of an item of a batch."""
        size, error = values["picture"], values["error"]
        return cls(
            tuple(map(Face.of, values["faces"])),
            size and (size["width"], size["height"]),
            error and ServiceError(422, error["code"], error["message"]),
        )


@dataclass(frozen=True)
class Prediction:
    """Faces of one picture, largest first; `size` is (width, height) in pixels."""

    faces: tuple[Face, ...]
    size: tuple[int, int]
    model: Model
    milliseconds: float

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Prediction:
        """Read the JSON of POST /predict."""
        size = values["picture"]
        faces = tuple(map(Face.of, values["faces"]))
        return cls(faces, (size["width"], size["height"]), Model.of(values["model"]), values["milliseconds"])


@dataclass(frozen=True)
class VideoState:
    """State of the analysis of a video.

    `progress` is in 0..1, None where the length is unknown; `files` are the names of results that can be fetched; `summary` is
    there once it is done, `error` where it failed.
    """

    job: str
    state: Literal["queued", "running", "done", "failed"]
    progress: float | None
    files: tuple[str, ...]
    summary: Mapping[str, Any] | None
    error: ServiceError | None

    @property
    def finished(self) -> bool:
        """Return whether the analysis has ended, well or not."""
        return self.state in ("done", "failed")

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> VideoState:
        """Read the JSON of GET /video/{job}, or of the answer to POST /video."""
        error = values.get("error")
        return cls(
            values["job"],
            values["state"],
            values.get("progress"),
            tuple(values.get("files", ())),
            values.get("summary"),
            error and ServiceError(422, error["code"], error["message"]),
        )
