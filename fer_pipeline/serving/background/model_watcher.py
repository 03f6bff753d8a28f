"""Watch the model's folder and replace the served model while requests go on.

A new model is loaded and tested aside before it takes over. A worker looks at the folder at an interval, or when another worker
signals (`reload_signal`), or both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread

from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import INFO_FILE, MODEL_FILE
from fer_pipeline.serving.background.loaded_model import FileStamps, LoadedModel, file_stamps
from fer_pipeline.serving.background.reload_signal import LISTEN_SECONDS, ReloadSignal
from fer_pipeline.serving.http import metrics

logger = logging.getLogger(__name__)


class ModelWatcher:
    """Loads what comes into the model's folder and hands it to a callback."""

    def __init__(
        self, folder: Path, model: LoadedModel, on_model: Callable[[LoadedModel], None], detector: str | None = None
    ) -> None:
        """Watch a folder, that of `model` as a rule, which is served now.

        `on_model` must make the next one answer; it may be called from any thread. `detector` is the one that
        `LoadedModel.read` is called with.
        """
        self._folder = folder
        self._model = model
        self._on_model = on_model
        self._detector = detector
        self._seen: FileStamps = model.stamps
        self._lock = Lock()
        self._closing = Event()
        self._threads: list[Thread] = []
        self._signal: ReloadSignal | None = None

    def watch(self, seconds: float) -> None:
        """Look at the folder every so many seconds until `close`.

        A model that fails is logged, and tried again once the folder has changed.
        """
        self._start(seconds, self._has_changed)

    def listen(self, signal: ReloadSignal) -> None:
        """Load the folder within `LISTEN_SECONDS` of a worker's signal, until `close`.

        Faults are logged.
        """
        self._signal = signal
        self._start(LISTEN_SECONDS, signal.received)

    def reload(self) -> bool:
        """Load the folder and serve its model; whether it is another one than before.

        Raises `ModelError` where it does not work; the old one then stays.
        """
        with self._lock:
            self._seen = file_stamps(self._folder)
            try:
                fresh = self._read()
            except Exception as error:
                metrics.RELOADS.labels("failed").inc()
                if not isinstance(error, ModelError):
                    self._seen = ()  # a passing fault, such as a full disk: the next look tries again
                raise
            if fresh.files == self._model.files:
                return False
            before = self._model.recognizer.info.fingerprint
            self._model = fresh
            self._on_model(fresh)
        metrics.RELOADS.labels("loaded").inc()
        logger.warning("model %s took over from %s", fresh.recognizer.info.fingerprint, before)
        return True

    def reload_all(self) -> bool:
        """`reload` here, then signal the other workers; whether the model changed here.

        Raises `ModelError` where the model does not work, and signals nobody; `ToolUnavailableError` where the signal fails.
        """
        changed = self.reload()
        if self._signal is not None:
            self._signal.send()  # unchanged, too: others may be behind
        return changed

    def close(self) -> None:
        """End all threads."""
        self._closing.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> LoadedModel:
        fresh = LoadedModel.read(self._folder, self._detector)
        if fresh.recognizer.info.synthetic and not self._model.recognizer.info.synthetic:
            raise ModelError(
                f"the model in {self._folder} was trained on drawn faces, and does not take over from one of real faces: "
                "`fer serve --model champion` serves it"
            )
        return fresh

    def _start(self, seconds: float, has_cause: Callable[[], bool]) -> None:
        thread = Thread(target=self._run, args=(seconds, has_cause), name="model watcher", daemon=True)
        self._threads.append(thread)
        thread.start()

    def _has_changed(self) -> bool:
        stamps = file_stamps(self._folder)
        return stamps != self._seen and {MODEL_FILE, INFO_FILE} <= {name for name, *_ in stamps}  # not just being replaced

    def _run(self, seconds: float, has_cause: Callable[[], bool]) -> None:
        logged = ""
        while not self._closing.wait(seconds):
            if not has_cause():
                continue
            try:
                self.reload()
                logged = ""
            except Exception as error:
                # Whatever it is, a full disk included: the service goes on with the model it has, and so does the watch.
                if str(error) != logged:  # a full disk fails again at each look
                    fingerprint = self._model.recognizer.info.fingerprint
                    logger.error("the new model does not work, %s goes on answering: %s", fingerprint, error)
                logged = str(error)
