"""State that the routes of one worker share: model, admission, decoder, logs."""

from __future__ import annotations

from dataclasses import dataclass, field

from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.smoothing import DEFAULT_TEMPORAL, TemporalMode
from fer_pipeline.serving.background.feedback_inbox import FeedbackInbox
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.model_watcher import ModelWatcher
from fer_pipeline.serving.background.prediction_logger import PredictionLogger
from fer_pipeline.serving.background.shadow import Shadow
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.sandbox.image_decoder import ImageDecoder, InProcessDecoder
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs


@dataclass
class ServiceState:
    """Collaborators of the routes.

    `serve` may replace the model at any time, from any thread.
    """

    recognizer: Recognizer
    admission: AdmissionController
    jobs: VideoJobs
    decoder: ImageDecoder = field(default_factory=InProcessDecoder)
    card: str | None = None  # the model card, an HTML page
    model_files: PortableModel | None = None  # None: the model is not given to pages that recognize on the device
    camera_temporal: TemporalMode = DEFAULT_TEMPORAL  # for camera sessions that do not choose
    prediction_logger: PredictionLogger | None = None  # None: no prediction is logged
    shadow: Shadow | None = None  # None: no challenger is compared
    feedback_inbox: FeedbackInbox | None = None  # None: no corrections are taken
    watcher: ModelWatcher | None = None  # None: the model is never replaced
    allowed_origins: tuple[str, ...] = ()  # of pages of others that may use the service
    hosts: tuple[str, ...] = ()  # names in small letters to which the service answers, besides its own address

    def serve(self, model: LoadedModel) -> None:
        """Answer with this model from now on.

        Requests that have begun end with the one before.
        """
        self.jobs.model = model
        self.recognizer, self.card, self.model_files = model.recognizer, model.files.card, model.files
