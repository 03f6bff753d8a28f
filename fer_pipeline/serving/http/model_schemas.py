"""Which model answers: its facts in each answer, its notices, and GET /model."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from fer_pipeline.imaging import MAX_PIXELS
from fer_pipeline.inference.detection.selection import ORIGINS
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import TemporalMode

NOTICE = (
    "Names the facial expression that the annotators of FER-2013 would have seen; it does not read what a person feels. "
    "Not for use in workplaces, education, hiring, law enforcement, border control, credit or insurance. "
    "Whoever uses it must inform the people shown. Its accuracy per group of people was not measured."
)
SYNTHETIC_NOTICE = "This model was trained on generated faces: it is for trying the pipeline, not for real pictures."


class Lineage(BaseModel):
    """Which model answered, and what it is for."""

    name: str = Field(description="version in the registry, name of the pretrained model, or network", examples=["fer/3"])
    network: str = Field(examples=["compact"])
    sha256: str = Field(description="of the ONNX file")
    fingerprint: str = Field(description="of all that decides an answer: weights, temperature, labels, image spec")
    data: str = Field(description="what it was trained on")
    synthetic: bool = Field(description="trained on generated faces: for trying the pipeline, not for real pictures")
    detector: str = Field(description="that found the faces", examples=["centerface"])
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
    precision: Literal["float32", "int8"] = Field(description="what the convolutions compute in")
    metrics: dict[str, float] = Field(description="on the test split")
    detector_origin: dict[str, str] | None = Field(
        description="source, licence and training data of the face detector; null for one that is not of this package"
    )
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


def lineage(recognizer: Recognizer) -> dict[str, Any]:
    """Values of `Lineage`."""
    info = recognizer.info
    return {
        "name": info.name,
        "network": info.network,
        "sha256": info.sha256,
        "fingerprint": info.fingerprint,
        "data": info.data,
        "synthetic": info.synthetic,
        "detector": recognizer.detector.name,
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
    info, origin = recognizer.info, ORIGINS.get(recognizer.detector.name)
    return {
        **lineage(recognizer),
        "labels": list(info.labels),
        "image_spec": {**vars(info.image_spec), "fingerprint": info.image_spec.fingerprint},
        "temperature": info.temperature,
        "precision": info.precision,
        "metrics": info.metrics,
        "detector_origin": asdict(origin) if origin else None,
        "camera_temporal": camera_temporal,
        "uncertain_below": recognizer.threshold,
        "max_pixels": MAX_PIXELS,
        "has_card": has_card,
        "logs_predictions": logs_predictions,
        "feedback_days": feedback_days,
    }
