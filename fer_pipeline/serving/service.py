"""BentoML service around the HTTP app of `serving.app`.

From the root of the repository, once data/bundle holds a packaged model: `bentoml serve fer_pipeline.serving.service:Fer`;
a packaged bento from anywhere: `bentoml serve fer:VERSION`. Both answer on port 3000; add `--host 127.0.0.1` to keep it to
this machine. `serving.settings` lists the environment variables. Videos lie in a private folder of TMPDIR until their results
are deleted.
"""

from __future__ import annotations

import os
import signal

import bentoml

from fer_pipeline.serving.app import create_app, set_state
from fer_pipeline.serving.background.feedback_inbox import open_feedback_inbox
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.model_watcher import ModelWatcher
from fer_pipeline.serving.background.prediction_logger import open_prediction_logger
from fer_pipeline.serving.background.reload_signal import ReloadSignal
from fer_pipeline.serving.background.shadow import open_shadow
from fer_pipeline.serving.http import bentoml_server
from fer_pipeline.serving.http.access_log import protect_access_log
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.http.auth import OwnHostsOnly
from fer_pipeline.serving.http.metrics import forget_worker
from fer_pipeline.serving.sandbox.confinement import die_with
from fer_pipeline.serving.sandbox.decoder_pool import DecoderPool
from fer_pipeline.serving.sandbox.job_files import name_shared_root, shared_root
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits, ServiceSettings
from fer_pipeline.serving.state import ServiceState

app = create_app()
bentoml_server.drop_time_limit()
bentoml_server.keep_supervisor_private()
bentoml_server.limit_websockets()
bentoml_server.limit_stalled_readers()
protect_access_log()
if not bentoml_server.is_worker():
    name_shared_root()  # the workers inherit it


# `http.admission` limits requests, with 429; BentoML's own limit would also count the page and live cameras. Why its
# metrics are off is said in `metrics`. Its traces go nowhere unless an operator exports them, and made half of a small request.
@bentoml.service(name="fer", metrics={"enabled": False}, tracing={"excluded_urls": ".*"})
@bentoml.asgi_app(app, path="/")
class Fer:
    """Load the model before the first request.

    A model that does not load keeps the service from becoming ready.
    """

    def __init__(self) -> None:
        if bentoml_server.is_worker():  # a killed one is started anew; one whose starter is killed would hold the port for ever
            die_with(os.getppid(), signal.SIGTERM)
        settings, limits = ServiceSettings(), Limits()
        model_folder = settings.model_dir
        shared = shared_root()
        reload_signal, jobs = ReloadSignal(shared), VideoJobs(shared, model_folder, limits)
        model = LoadedModel.read(model_folder, settings.detector)
        self._decoders = DecoderPool(limits.parallel + 1, limits)  # one more for the thread that all cameras share
        self._state = state = ServiceState(
            recognizer=model.recognizer,
            admission=AdmissionController(limits, settings.token.get_secret_value() if settings.token else None),
            jobs=jobs,
            decoder=self._decoders,
            camera_temporal=settings.camera_temporal,
            prediction_logger=open_prediction_logger(settings),
            shadow=open_shadow(settings),
            feedback_inbox=open_feedback_inbox(settings),
            allowed_origins=settings.allowed_origins,
            hosts=settings.hosts,
        )
        state.serve(model)
        follow = settings.follow_dir or model_folder
        self._watcher = state.watcher = ModelWatcher(follow, model, state.serve, settings.detector)
        set_state(app, state)
        if settings.reload_seconds is not None:
            self._watcher.watch(settings.reload_seconds)
        if state.admission.has_token:  # without a token nobody may signal
            self._watcher.listen(reload_signal)

    @bentoml.on_shutdown  # type: ignore[untyped-decorator]
    def close(self) -> None:
        """End all threads and processes; remove what is kept of videos."""
        self._watcher.close()
        self._state.jobs.close()
        for log in (self._state.prediction_logger, self._state.shadow, self._state.feedback_inbox):
            if log is not None:
                log.close()
        self._decoders.close()
        forget_worker()


# Around BentoML's own routes, too: /livez, /readyz, /docs.json.
Fer.add_asgi_middleware(bentoml_server.JsonErrors)  # type: ignore[attr-defined]
Fer.add_asgi_middleware(OwnHostsOnly, owner=app)  # type: ignore[attr-defined]
