"""Types of the answers, which are the OpenAPI document."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from fer_pipeline.inference.neutral.reference import ReferenceOrigin
from fer_pipeline.inference.output_schema import SCHEMA_VERSION
from fer_pipeline.inference.smoothing import TemporalMode
from fer_pipeline.serving.http.model_schemas import Lineage

_PROBABILITIES = {"angry": 0.01, "disgust": 0.0, "fear": 0.02, "happy": 0.91, "sad": 0.01, "surprise": 0.02, "neutral": 0.03}


def _example(**values: JsonValue) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [values]})


_DESCRIPTIONS = {
    400: "The form is malformed.",
    401: "The service has a token, and the request another one or none.",
    403: "A web page of another origin sent the request, or the operator has not switched this on.",
    404: "There is no such thing, or not any more.",
    408: "The upload took too long.",
    409: "Not ready.",
    413: "The request is larger than the limit.",
    415: "The body is not of a kind that is read here.",
    422: "The request is understood but cannot be served; the message says why.",
    429: "Too many requests at once; try again after the seconds of Retry-After.",
}


class Box(BaseModel):
    """Left, top, width and height in pixels of the upright picture.

    It may reach beyond the picture's edge.
    """

    model_config = _example(x=237.0, y=96.0, width=168.0, height=168.0)

    x: float
    y: float
    width: float
    height: float


class RelativeBox(BaseModel):
    """Left, top, width and height in shares of the picture's width and height."""

    model_config = _example(x=0.3703, y=0.2, width=0.2625, height=0.35)

    x: float
    y: float
    width: float
    height: float


class Quality(BaseModel):
    """Of the face as it was cut out."""

    model_config = _example(size=168.0, sharpness=412.7, brightness=131.2, outside=0.0)

    size: float = Field(description="side in pixels")
    sharpness: float = Field(description="variance of the Laplacian at 48x48")
    brightness: float = Field(description="mean gray value, 0..255")
    outside: float = Field(description="share that lies outside the picture, 0..1")


class Pose(BaseModel):
    """How a face is held, in degrees."""

    model_config = _example(roll=-2.1, yaw=6.4)

    roll: float = Field(description="by which the line of the eyes falls to the right of the picture, -180 to 180")
    yaw: float = Field(description="by which the face looks to the right of the picture; a rough estimate from eyes and nose")


class Face(BaseModel):
    """One face."""

    box: Box | None = Field(description="null where the picture was sent as one face")
    relative_box: RelativeBox | None = Field(description="the same in shares of the picture")
    detection_score: float | None = Field(description="0..1, comparable for the same detector only")
    emotion: str = Field(description='the most probable label, or "uncertain"', examples=["happy"])
    top_emotion: str = Field(description="the most probable label, however doubtful", examples=["happy"])
    confidence: float = Field(description="calibrated probability of top_emotion", examples=[0.91])
    probabilities: dict[str, float] = Field(description="calibrated; sum 1 within 0.0004", examples=[_PROBABILITIES])
    neutral_reference: ReferenceOrigin | None = Field(
        None,
        description="given: the probabilities are relative to the person's own neutral face, which was sent or shown before",
    )
    quality: Quality
    reasons: list[str] = Field(
        description="what makes the answer doubtful: low_confidence, small, blurry, dark, bright, cut_off", examples=[[]]
    )
    rotation: Literal[0, 90, 180, 270] = Field(
        0,
        description="degrees against the clock by which the picture was turned to find the face; the box is that as sent",
    )
    pose: Pose | None = Field(None, description="null where the face detector knows no landmarks: with haar, or framing=face")
    feedback: str | None = Field(
        None, description="token for POST /feedback, good for an hour; null where the operator takes no corrections"
    )


class Picture(BaseModel):
    """Size in pixels after turning it upright by its EXIF orientation."""

    model_config = _example(width=640, height=480)

    width: int
    height: int


class Prediction(BaseModel):
    """The faces of one picture, largest first; empty where none was found."""

    schema_version: int = Field(SCHEMA_VERSION, description="of docs/outputs.md, which all results follow")
    faces: list[Face]
    picture: Picture
    model: Lineage
    milliseconds: float = Field(description="decoding and recognition, without waiting")


class ErrorText(BaseModel):
    """Why a request was not served."""

    code: str = Field(examples=["undecodable_picture"])
    message: str = Field(examples=["picture 1: picture of 50 bytes cannot be decoded: image file is truncated"])


class BatchItem(BaseModel):
    """The faces of one picture of a batch, or why it cannot be read."""

    faces: list[Face]
    picture: Picture | None = Field(description="null where the picture cannot be read")
    error: ErrorText | None = Field(None, description="why the picture cannot be read; null where it was")


class BatchPrediction(BaseModel):
    """One item per picture, in the order in which they were sent."""

    schema_version: int = Field(SCHEMA_VERSION, description="of docs/outputs.md, which all results follow")
    pictures: list[BatchItem]
    model: Lineage
    milliseconds: float


class Person(BaseModel):
    """One person of a video, in seconds of play."""

    track: int
    first: float
    last: float
    seconds: dict[str, float] = Field(
        description="how long it was seen with each label", examples=[{"happy": 3.2, "neutral": 1.1}]
    )


class VideoOutcome(BaseModel):
    """What a video shows as a whole."""

    seconds: float
    width: int
    height: int
    notes: list[str] = Field(description="what is missing or damaged")
    people: list[Person] = Field(description="those seen for half a second or more, longest first")


class ErrorAnswer(BaseModel):
    """Body of each answer that is not 200."""

    error: ErrorText


class VideoJob(BaseModel):
    """A video that was taken in."""

    job: str = Field(
        description="keep it to yourself: it is the key to the results", examples=["0123456789abcdef0123456789abcdef"]
    )
    state: Literal["queued", "running", "done", "failed"]
    temporal: TemporalMode = Field(description="how the emotions of a person are joined over time")
    model: Lineage


class VideoAnswer(VideoJob):
    """How far a video is, and how it ended."""

    progress: float | None = Field(description="0..1; null where the length is not known", examples=[0.4])
    frames: int = Field(description="so far")
    faces: int = Field(description="over all frames so far")
    files: list[str] = Field(description="results, under /video/{job}/files/", examples=[["faces.jsonl", "annotated.webm"]])
    error: ErrorText | None = Field(description="why it failed")
    summary: VideoOutcome | None = Field(None, description="once it is done")


class StoredCorrection(BaseModel):
    """A correction that was taken in."""

    id: str = Field(
        description="the receipt: who has it can delete the correction", examples=["0123456789abcdef0123456789abcdef"]
    )
    corrected: str = Field(examples=["sad"])
    picture: bool = Field(description="whether the face is stored, 48x48 gray pixels")
    expires: datetime = Field(description="when it is deleted, unless the operator has accepted it for training before")


class DeletedCorrection(BaseModel):
    """What became of a correction."""

    id: str
    state: Literal["deleted", "withdrawn"] = Field(
        description="withdrawn: it was accepted for training; the operator takes it out of the data"
    )


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI answers of these statuses."""
    return {status: {"model": ErrorAnswer, "description": _DESCRIPTIONS[status]} for status in statuses}


PICTURE_REFUSALS = refusals(400, 401, 403, 408, 413, 415, 422, 429)
