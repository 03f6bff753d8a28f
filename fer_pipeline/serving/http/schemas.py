"""Types of the answers, which are the OpenAPI document, and the notices."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.imaging import MAX_PIXELS
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import TemporalMode

NOTICE = (
    "Names the facial expression that the annotators of FER-2013 would have seen; it does not read what a person feels. "
    "Not for use in workplaces, education, hiring, law enforcement, border control, credit or insurance. "
    "Whoever uses it must inform the people shown. Its accuracy per group of people was not measured."
)
SYNTHETIC_NOTICE = "This model was trained on generated faces: it is for trying the pipeline, not for real pictures."

_PROBABILITIES = {"angry": 0.01, "disgust": 0.0, "fear": 0.02, "happy": 0.91, "sad": 0.01, "surprise": 0.02, "neutral": 0.03}


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

    x: float
    y: float
    width: float
    height: float


class Quality(BaseModel):
    """Of the face as it was cut out."""

    size: float = Field(description="side in pixels")
    sharpness: float = Field(description="variance of the Laplacian at 48x48")
    brightness: float = Field(description="mean gray value, 0..255")
    outside: float = Field(description="share that lies outside the picture, 0..1")


class Pose(BaseModel):
    """How a face is held, in degrees."""

    roll: float = Field(description="by which the line of the eyes falls to the right of the picture, -180 to 180")
    yaw: float = Field(description="by which the face looks to the right of the picture; a rough estimate from eyes and nose")


class Face(BaseModel):
    """One face."""

    box: Box | None = Field(description="null where the picture was sent as one face")
    detection_score: float | None = Field(description="0..1, comparable for the same detector only")
    emotion: str = Field(description='the most probable label, or "uncertain"', examples=["happy"])
    top_emotion: str = Field(description="the most probable label, however doubtful", examples=["happy"])
    confidence: float = Field(description="calibrated probability of top_emotion", examples=[0.91])
    probabilities: dict[str, float] = Field(description="calibrated, sum 1", examples=[_PROBABILITIES])
    quality: Quality
    reasons: list[str] = Field(
        description="what makes the answer doubtful: low_confidence, small, blurry, dark, bright, cut_off", examples=[[]]
    )
    rotation: Literal[0, 90, 180, 270] = Field(
        0,
        description="degrees against the clock by which the picture was turned to find the face; the box is that as sent",
    )
    pose: Pose | None = Field(None, description="null where the face detector knows no landmarks: with Haar, or framing=face")
    feedback: str | None = Field(
        None, description="token for POST /feedback, good for an hour; null where the operator takes no corrections"
    )


class Picture(BaseModel):
    """Size in pixels after turning it upright by its EXIF orientation."""

    width: int
    height: int


class Lineage(BaseModel):
    """Which model answered, and what it is for."""

    network: str = Field(examples=["compact"])
    sha256: str = Field(description="of the ONNX file")
    fingerprint: str = Field(description="of all that decides an answer: weights, temperature, labels, image spec")
    data: str = Field(description="what it was trained on")
    synthetic: bool = Field(description="trained on generated faces: for trying the pipeline, not for real pictures")
    image_spec_fingerprint: str = Field(description="of the size, denoising, contrast and cut of a face; GET /model has them")
    lineage: dict[str, str] = Field(
        description="name, version and alias in the registry as far as it was packaged from there, run id, data version, "
        "git commit and the like",
        examples=[{"name": "fer", "version": "3", "alias": "champion", "run_id": "2064cb4d", "git_commit": "c73082e8"}],
    )
    notice: str


class Model(Lineage):
    """All metadata of the model."""

    model_config = ConfigDict(title="ModelMetadata")

    labels: list[str]
    image_spec: dict[str, Any]
    temperature: float
    metrics: dict[str, float] = Field(description="on the test split")
    detector: str = Field(examples=["haar"])
    camera_temporal: TemporalMode = Field(
        description="how a camera's answers are joined over time where its session does not choose"
    )
    uncertain_below: float = Field(description="probability under which the answer is uncertain")
    max_pixels: int = Field(description="largest picture that is read")
    has_card: bool = Field(description="whether GET /card has the model card")
    feedback_days: int | None = Field(
        description="days for which a correction is kept until it is reviewed; null where the operator takes none"
    )
    logs_predictions: bool = Field(description="whether the operator keeps a log of answers on pictures; it holds no picture")


class Prediction(BaseModel):
    """The faces of one picture, largest first; empty where none was found."""

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


def lineage(recognizer: Recognizer) -> dict[str, Any]:
    """Values of `Lineage`."""
    info = recognizer.info
    return {
        "network": info.network,
        "sha256": info.sha256,
        "fingerprint": info.fingerprint,
        "data": info.data,
        "synthetic": info.synthetic,
        "image_spec_fingerprint": info.image_spec.fingerprint,
        "lineage": info.lineage,
        "notice": f"{SYNTHETIC_NOTICE} {NOTICE}" if info.synthetic else NOTICE,
    }


def model_header(recognizer: Recognizer) -> dict[str, str]:
    """Return the header that names the model: "fer/3 compact 0a1b2c3d4e5f".

    It is for answers that are no JSON.
    """
    info = recognizer.info
    version = "/".join(info.lineage[key] for key in ("name", "version") if key in info.lineage)
    words = " ".join(word for word in (version, info.network, info.fingerprint) if word)
    return {"X-Model": "".join(sign if " " <= sign <= "~" else "?" for sign in words)}


def model_metadata(
    recognizer: Recognizer, *, camera_temporal: TemporalMode, has_card: bool, logs_predictions: bool, feedback_days: int | None
) -> dict[str, Any]:
    """Values of `Model`."""
    info = recognizer.info
    return {
        **lineage(recognizer),
        "labels": list(info.labels),
        "image_spec": {**vars(info.image_spec), "fingerprint": info.image_spec.fingerprint},
        "temperature": info.temperature,
        "metrics": info.metrics,
        "detector": recognizer.detector.name,
        "camera_temporal": camera_temporal,
        "uncertain_below": recognizer.threshold,
        "max_pixels": MAX_PIXELS,
        "has_card": has_card,
        "logs_predictions": logs_predictions,
        "feedback_days": feedback_days,
    }
