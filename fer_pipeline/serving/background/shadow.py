"""Shadow mode: compare a challenger with the champion on a share of the requests.

The challenger runs on a thread of its own, on pictures only, as the log of predictions. It gets the face as 48x48 gray pixels;
neither that nor the picture is stored.
"""

from __future__ import annotations

import logging
import queue
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import UInt8Array, enhance
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.face_emotion import FaceEmotion
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.background.loaded_model import FileStamps, LoadedModel, file_stamps
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.settings import ServiceSettings

if TYPE_CHECKING:
    from fer_pipeline.monitoring.prediction_log import PredictionLog
    from fer_pipeline.monitoring.shadow_log import LoggedPair

MAX_WAITING = 256
"""Faces that may wait for the challenger, 0.6 MB; further ones are counted as dropped."""

REST = 9.0
"""How long the thread rests after a comparison, in units of the time that it took: it uses a tenth of one core at most."""

LOOK_SECONDS = 2.0
"""How often the challenger's folder is looked at."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    champion: EmotionClassifier
    probabilities: tuple[float, ...]
    face: UInt8Array  # gray (48, 48)


class Shadow:
    """Compare the challenger of a folder with the champion in one worker.

    A model that comes into the folder is tested, then compared. A challenger that is missing, broken or slow never fails or
    delays an answer: faces are dropped and counted.
    """

    def __init__(
        self,
        model: Path,
        share: float,
        log: PredictionLog[LoggedPair] | None,
        *,
        look_seconds: float = LOOK_SECONDS,
        most_waiting: int = MAX_WAITING,
        rest: float = REST,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """Start the thread; without a log, comparisons are only counted.

        `draw` returns numbers in [0, 1); below the share, a request is taken.
        """
        self._model = model
        self._share = share
        self._log = log
        self._look_seconds = look_seconds
        self._rest = rest
        self._draw = draw
        self._waiting: queue.Queue[_Task] = queue.Queue(most_waiting)
        self._challenger: EmotionClassifier | None = None
        self._seen: FileStamps | None = None
        self._told = ""  # the last fault that was logged: a full disk is tried, and a face fails, again and again
        self._champion_first = True
        self._closing = Event()
        self._thread = Thread(target=self._work, name="shadow", daemon=True)
        self._thread.start()

    @property
    def keeps_log(self) -> bool:
        """Whether comparisons are written to a log."""
        return self._log is not None

    def offer(self, champion: Recognizer, faces: Sequence[tuple[FaceEmotion, UInt8Array]]) -> None:
        """Queue the faces of one answer if the request is sampled; returns at once.

        Each face comes with its gray uint8 (48, 48).
        """
        if self._challenger is None or self._draw() >= self._share:
            return
        for answer, gray in faces:
            try:
                self._waiting.put_nowait(_Task(champion.classifier, answer.probabilities, gray))
            except queue.Full:
                metrics.SHADOWED.labels("dropped").inc()

    def close(self) -> None:
        """Ends the thread; what waits is dropped, what was compared is written."""
        self._closing.set()
        self._thread.join(timeout=10)
        if self._log is not None:
            self._log.close()

    def _work(self) -> None:
        next_look = 0.0
        while not self._closing.is_set():
            if time.monotonic() >= next_look:
                self._look()
                next_look = time.monotonic() + self._look_seconds
            try:
                task = self._waiting.get(timeout=min(0.2, self._look_seconds))
            except queue.Empty:
                continue
            challenger = self._challenger
            if challenger is None or challenger.info.fingerprint == task.champion.info.fingerprint:
                continue  # it has gone, or was promoted
            start = time.monotonic()
            try:
                self._compare(task, challenger)
            except Exception as error:  # onnxruntime raises types of its own
                metrics.SHADOWED.labels("failed").inc()
                self._tell(f"the challenger {challenger.info.fingerprint} fails on a face: {error}")
            self._closing.wait(self._rest * (time.monotonic() - start))

    def _look(self) -> None:
        stamps = file_stamps(self._model)
        if stamps == self._seen:
            return
        self._seen = stamps
        if not stamps:
            self._challenger = None
            logger.warning("shadow mode: there is no challenger in %s", self._model)
            return
        try:
            challenger = LoadedModel.read(self._model).recognizer.classifier
        except Exception as error:
            self._challenger = None
            if not isinstance(error, ModelError):
                self._seen = None  # a passing fault, such as a full disk: the next look tries again
            metrics.SHADOW_MODELS.labels("failed").inc()
            self._tell(f"the challenger does not work and is left out: {error}")
            return
        self._told = ""
        self._challenger = challenger
        metrics.SHADOW_MODELS.labels("loaded").inc()
        logger.warning("shadow mode: challenger %s is run on %g of the requests", challenger.info.fingerprint, self._share)

    def _tell(self, fault: str) -> None:
        if fault != self._told:
            logger.error("shadow mode: %s", fault)
        self._told = fault

    def _compare(self, task: _Task, challenger: EmotionClassifier) -> None:
        scales = [one.info.image_spec.crop_scale for one in (task.champion, challenger)]
        if scales[0] != scales[1]:
            raise ModelError(f"it expects faces cut out at scale {scales[1]}, the champion's are cut out at {scales[0]}")
        # Both are timed here, one after the other and in turn first, so that the load of the moment falls on both alike.
        seconds: dict[str, float] = {}
        answers: dict[str, tuple[float, ...]] = {}
        sides = (("champion", task.champion), ("challenger", challenger))
        for name, classifier in sides if self._champion_first else sides[::-1]:
            model_input = enhance(task.face, classifier.info.image_spec)[np.newaxis, :, :, np.newaxis]
            start = time.perf_counter()
            answers[name] = tuple(map(float, classifier.probabilities(model_input)[0]))
            seconds[name] = time.perf_counter() - start
            metrics.SHADOW_SECONDS.labels(name).observe(seconds[name])
        self._champion_first = not self._champion_first
        answered, shadowed = np.array(task.probabilities), np.array(answers["challenger"])
        if not np.isfinite(shadowed).all():
            raise ModelError(f"it answers {shadowed.tolist()}, expected probabilities")
        metrics.SHADOWED.labels("agreed" if answered.argmax() == shadowed.argmax() else "disagreed").inc()
        metrics.SHADOW_DIFFERENCE.observe(float(np.abs(answered - shadowed).mean()))
        if self._log is not None:
            self._log.put(_pair(task, challenger, answers["challenger"], seconds))


def open_shadow(settings: ServiceSettings) -> Shadow | None:
    """Open shadow mode; None where `FER_SHADOW_MODEL` is not set.

    Raises `ToolUnavailableError` where its log's folder cannot be written.
    """
    if settings.shadow_model is None:
        return None
    if settings.shadow_log is None:
        return Shadow(settings.shadow_model, settings.shadow_share, None)
    from fer_pipeline.monitoring import shadow_log  # pyarrow, which only the log needs
    from fer_pipeline.monitoring.prediction_log import LogSettings, PredictionLog

    kept = LogSettings(settings.shadow_log, settings.shadow_log_days, settings.shadow_log_megabytes, "FER_SHADOW_LOG")
    log = PredictionLog(kept, lambda outcome, rows: metrics.SHADOW_LOGGED.labels(outcome).inc(rows), shadow_log.write)
    return Shadow(settings.shadow_model, settings.shadow_share, log)


def _pair(task: _Task, challenger: EmotionClassifier, shadowed: tuple[float, ...], seconds: Mapping[str, float]) -> LoggedPair:
    from fer_pipeline.monitoring.shadow_log import LoggedPair, Side

    answered, other = task.champion.info, challenger.info
    return LoggedPair(
        time=datetime.now(UTC),
        champion=Side(answered.network, answered.fingerprint, task.probabilities, 1000 * seconds["champion"]),
        challenger=Side(other.network, other.fingerprint, shadowed, 1000 * seconds["challenger"]),
    )
