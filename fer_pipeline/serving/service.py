"""The BentoML service around the HTTP routes of `serving.api`.

From the root of the repository, once data/bundle holds a packaged model: `bentoml serve fer_pipeline.serving.service:Fer`;
a packaged bento from anywhere: `bentoml serve fer:VERSION`. Both answer on port 3000; add `--host 127.0.0.1` to keep it to
this machine. `FER_MODEL_DIR` names another exported model, `FER_TOKEN` a secret that all but the page and GET requests then need;
`FER_RELOAD_SECONDS` how often it looks whether another model lies there, which then takes over; `FER_PREDICTION_LOG` a folder for
the log of predictions, `FER_FEEDBACK` one for people's corrections (`serving.intake`); `FER_SHADOW_MODEL` a challenger's folder
for shadow mode (`serving.shadow`); `FER_CAMERA_TEMPORAL` how a camera's answers are joined over time (`serving.live`);
`uploads.Limits` lists what else the environment sets. Videos lie in a private folder of TMPDIR until their results are deleted.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import bentoml

from fer_pipeline.serving.app import create_app, open_desk
from fer_pipeline.serving.background.feedback_inbox import open_intake
from fer_pipeline.serving.background.loaded_model import ServedModel
from fer_pipeline.serving.background.model_watcher import Follower, reload_seconds
from fer_pipeline.serving.background.prediction_logger import open_logbook
from fer_pipeline.serving.background.reload_signal import ReloadCall
from fer_pipeline.serving.background.shadow import open_shadow
from fer_pipeline.serving.http.bentoml_timeout import drop_time_limit
from fer_pipeline.serving.http.metrics import forget_worker
from fer_pipeline.serving.http.uploads import Limits
from fer_pipeline.serving.routes.live import camera_temporal
from fer_pipeline.serving.sandbox.confinement import die_with
from fer_pipeline.serving.sandbox.decoder_pool import PictureSandbox
from fer_pipeline.serving.sandbox.video_jobs import Jobs, shared_root
from fer_pipeline.serving.state import Desk
from fer_pipeline.workspace import layout

# The same place relative to this file in the repository and in the bento.
BUNDLE = Path(__file__).resolve().parents[2] / layout.BUNDLE

app = create_app()
drop_time_limit()


# Admission is the business of the desk, which says 429; BentoML's own limit would also count the page and live cameras. Why its
# metrics are off is said in `metrics`. Its traces go nowhere unless an operator exports them, and made half of a small request.
@bentoml.service(name="fer", metrics={"enabled": False}, tracing={"excluded_urls": ".*"})
@bentoml.asgi_app(app, path="/")
class Fer:
    """Loads the model before the first request; a model that does not load keeps the service from becoming ready."""

    def __init__(self) -> None:
        if _is_worker():  # BentoML starts a killed worker anew; one whose starter is killed would hold the port for ever
            die_with(os.getppid(), signal.SIGTERM)
        model_folder = Path(os.environ.get("FER_MODEL_DIR", BUNDLE))
        limits = Limits.read(os.environ)
        shared = shared_root()
        call = ReloadCall(shared)
        self._jobs = Jobs(shared, model_folder, limits)
        self._jobs.served = served = ServedModel.read(model_folder)
        desk = Desk(served.recognizer, limits, os.environ.get("FER_TOKEN"))
        self._logbook = desk.logbook = open_logbook(os.environ)
        self._shadow = desk.shadow = open_shadow(os.environ)
        self._intake = desk.intake = open_intake(os.environ)
        desk.camera_temporal = camera_temporal(os.environ)
        self._sandbox = PictureSandbox(limits.parallel + 1, limits)  # one more for the thread that all cameras share
        desk.decode = self._sandbox.decode
        desk.card, desk.portable = served.portable.card, served.portable
        self._follower = Follower(model_folder, served, desk, self._jobs)
        open_desk(app, desk, self._jobs, self._follower)
        seconds = reload_seconds(os.environ)
        if seconds is not None:
            self._follower.follow(seconds)
        if desk.has_token:  # else nobody may call
            self._follower.listen(call)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """Ends the watch on the model, the analysis of videos, and all processes; removes what is kept of videos."""
        self._follower.close()
        self._jobs.close()
        for log in (self._logbook, self._shadow, self._intake):
            if log is not None:
                log.close()
        self._sandbox.close()
        forget_worker()


def _is_worker() -> bool:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    return spec is not None and spec.name == "_bentoml_impl.worker.service"
