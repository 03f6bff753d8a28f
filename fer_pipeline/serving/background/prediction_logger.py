"""What the service notes of its answers where `FER_PREDICTION_LOG` switches it on: no picture, and no place in one.

Pictures only: the frames of a film or a camera show the same face again and again, and would look like drift.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fer_pipeline.inference.face_emotion import UNCERTAIN, FaceEmotion
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring.observations import LOG_VARIABLE, LoggedFace
from fer_pipeline.serving.http import metrics

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


def open_prediction_logger(environment: Mapping[str, str]) -> PredictionLogger | None:
    """The logbook of an environment; None where `FER_PREDICTION_LOG` is not set.

    Raises `ParamsError` or `ToolUnavailableError` where its settings do not fit or its folder cannot be written.
    """
    if not environment.get(LOG_VARIABLE):
        return None
    from fer_pipeline.monitoring import log_files  # pyarrow, which only the log needs
    from fer_pipeline.monitoring.prediction_log import LogSettings, PredictionLog

    settings = LogSettings.read(environment)
    return PredictionLogger(
        PredictionLog(settings, lambda outcome, rows: metrics.LOGGED.labels(outcome).inc(rows), log_files.write)
    )
