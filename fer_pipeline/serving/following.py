"""The service follows its model's folder: what comes there is loaded aside, tried, and then takes over, while requests go on."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from threading import Event, Lock, Thread

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.model_info import INFO_FILE, MODEL_FILE
from fer_pipeline.serving import metrics
from fer_pipeline.serving.desk import Desk
from fer_pipeline.serving.jobs import Jobs
from fer_pipeline.serving.served_model import Marks, ServedModel, marks_of

RELOAD_SECONDS = "FER_RELOAD_SECONDS"

logger = logging.getLogger(__name__)


class Follower:
    """Replaces the model of one worker's desk and jobs. Requests that are being answered end with the model they began with."""

    def __init__(self, folder: Path, served: ServedModel, desk: Desk, jobs: Jobs) -> None:
        """`served` is what desk and jobs serve now."""
        self._folder = folder
        self._served = served
        self._desk = desk
        self._jobs = jobs
        self._seen: Marks = served.marks
        self._lock = Lock()
        self._closing = Event()
        self._thread: Thread | None = None

    def follow(self, seconds: float) -> None:
        """Looks at the folder every so many seconds until `close`; a model that fails is logged and tried again once changed."""
        self._thread = Thread(target=self._watch, args=(seconds,), name="model follower", daemon=True)
        self._thread.start()

    def reload(self) -> bool:
        """Whether the folder held another model, which now answers.

        Raises `ModelError` where it does not work; the old one then stays.
        """
        with self._lock:
            self._seen = marks_of(self._folder)
            try:
                fresh = ServedModel.read(self._folder)
            except Exception as error:
                metrics.RELOADS.labels("failed").inc()
                if not isinstance(error, ModelError):
                    self._seen = ()  # a passing fault, such as a full disk: the next look tries again
                raise
            if fresh.portable == self._served.portable:
                return False
            before = self._served.recognizer.info.fingerprint
            card = fresh.portable.card
            self._served = self._jobs.served = fresh
            self._desk.recognizer, self._desk.card, self._desk.portable = fresh.recognizer, card, fresh.portable
        metrics.RELOADS.labels("loaded").inc()
        logger.warning("model %s took over from %s", fresh.recognizer.info.fingerprint, before)
        return True

    def close(self) -> None:
        """Ends the watch."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()

    def _watch(self, seconds: float) -> None:
        told = ""
        while not self._closing.wait(seconds):
            marks = marks_of(self._folder)
            if marks == self._seen or not {MODEL_FILE, INFO_FILE} <= {name for name, *_ in marks}:
                continue  # nothing new, or a folder that is just being replaced
            try:
                self.reload()
                told = ""
            except Exception as error:
                # Whatever it is, a full disk included: the service goes on with the model it has, and so does the watch.
                if str(error) != told:  # a full disk is tried again and again
                    fingerprint = self._served.recognizer.info.fingerprint
                    logger.error("the new model does not work, %s goes on answering: %s", fingerprint, error)
                told = str(error)


def reload_seconds(environment: Mapping[str, str]) -> float | None:
    """The value of `FER_RELOAD_SECONDS`; None where it is not set. Raises `ParamsError` where it is no positive number."""
    text = environment.get(RELOAD_SECONDS)
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds > 0):
        raise ParamsError(f"{RELOAD_SECONDS} is {text!r}, expected a positive number of seconds; leave it out to keep the model")
    return seconds
