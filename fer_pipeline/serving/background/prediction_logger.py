"""Log predictions on pictures, without any picture or position.

Frames of a video or a camera are left out: they show the same face again and again, and would look like drift.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fer_pipeline.inference.face_emotion import UNCERTAIN, FaceEmotion
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring.observations import LoggedFace
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.settings import ServiceSettings

if TYPE_CHECKING:
    from fer_pipeline.monitoring.prediction_log import PredictionLog


class PredictionLogger:
    """The way from answers to the log."""

    def __init__(self, log: PredictionLog[LoggedFace]) -> None:
        self._log = log

    def note(self, info: ModelInfo, faces: Iterable[FaceEmotion]) -> None:
        """Notes the faces of one answer of this model; returns at once."""
        now = datetime.now(UTC)
        for face in faces:
            self._log.put(
                LoggedFace(
                    time=now,
                    model=info.network,
                    version=info.fingerprint,
                    probabilities=face.probabilities,
                    top_emotion=face.top_emotion,
                    uncertain=face.emotion == UNCERTAIN,
                    size=face.quality.size,
                    sharpness=face.quality.sharpness,
                    brightness=face.quality.brightness,
                    contrast=face.quality.contrast,
                )
            )

    def close(self) -> None:
        """Writes what is not written yet."""
        self._log.close()


def open_prediction_logger(settings: ServiceSettings) -> PredictionLogger | None:
    """Open the log of predictions; None where `FER_PREDICTION_LOG` is not set.

    Raises `ToolUnavailableError` where its folder cannot be written.
    """
    if settings.prediction_log is None:
        return None
    from fer_pipeline.monitoring import log_files  # pyarrow, which only the log needs
    from fer_pipeline.monitoring.prediction_log import LogSettings, PredictionLog

    kept = LogSettings(settings.prediction_log, settings.prediction_log_days, settings.prediction_log_megabytes)
    log = PredictionLog(kept, lambda outcome, rows: metrics.LOGGED.labels(outcome).inc(rows), log_files.write)
    return PredictionLogger(log)
