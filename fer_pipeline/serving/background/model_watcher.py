"""The service follows its model's folder: what comes there is loaded aside, tried, and then takes over, while requests go on.

A worker looks by itself every so often, or when another worker calls (`reload_call`), or both.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, Lock, Thread

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.model_info import INFO_FILE, MODEL_FILE
from fer_pipeline.serving.background.loaded_model import Marks, ServedModel, marks_of
from fer_pipeline.serving.background.reload_signal import LISTEN_SECONDS, ReloadCall
from fer_pipeline.serving.http import metrics
from fer_pipeline.serving.sandbox.video_jobs import Jobs
from fer_pipeline.serving.state import Desk

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
        self._threads: list[Thread] = []
        self._call: ReloadCall | None = None

    def follow(self, seconds: float) -> None:
        """Looks at the folder every so many seconds until `close`; a model that fails is logged and tried again once changed."""
        self._start(seconds, self._holds_another)

    def listen(self, call: ReloadCall) -> None:
        """Until `close`, loads the folder within `LISTEN_SECONDS` of a worker's call; a model that fails is logged."""
        self._call = call
        self._start(LISTEN_SECONDS, call.heard)

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

    def reload_all(self) -> bool:
        """`reload`, and where the model works the other workers are told to do the same.

        Raises `ModelError` where it does not work, and nobody is told; `ToolUnavailableError` where they cannot be told.
        """
        changed = self.reload()
        if self._call is not None:
            self._call.make()  # unchanged, too: others may be behind
        return changed

    def close(self) -> None:
        """Ends the watch."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _start(self, seconds: float, has_cause: Callable[[], bool]) -> None:
        thread = Thread(target=self._watch, args=(seconds, has_cause), name="model follower", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _holds_another(self) -> bool:
        marks = marks_of(self._folder)
        return marks != self._seen and {MODEL_FILE, INFO_FILE} <= {name for name, *_ in marks}  # not just being replaced

    def _watch(self, seconds: float, has_cause: Callable[[], bool]) -> None:
        told = ""
        while not self._closing.wait(seconds):
            if not has_cause():
                continue
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
