"""What the service counts of itself, told on /metrics and summed over its workers.

Not BentoML's figures of requests: they keep twenty series for each path that was ever asked for, of any caller's invention and of
each video, on disk and in memory until the service ends.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fer_pipeline.inference.face_emotion import FaceEmotion

_SHARED = "PROMETHEUS_MULTIPROC_DIR"  # set by BentoML; the workers keep their figures there

_NETWORK_SECONDS = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5)
_DIFFERENCES = (0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3)
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0, 2.5, 5.0)

FACES = Counter("fer_faces", "Faces recognized, by the emotion that was answered.", ["source", "emotion"])
SECONDS = Histogram("fer_answer_seconds", "Time of decoding and recognition, without waiting.", ["source"], buckets=_SECONDS)
REQUESTS = Counter("fer_requests", "Requests that were answered, by route and HTTP status.", ["route", "status"])
REFUSED = Counter("fer_refused", "Requests that were not served, by error code.", ["reason"])
BROKEN_DECODERS = Counter("fer_broken_decoders", "Decoders of pictures that a picture broke or blocked; each was replaced.")
CAMERA_FRAMES = Counter("fer_camera_frames", "Frames of live cameras, by what was answered.", ["outcome"])
CAMERAS = Gauge("fer_cameras", "Live camera sessions that are open.", multiprocess_mode="livesum")
RELOADS = Counter("fer_model_reloads", "Models that came while serving, by whether they took over.", ["outcome"])
LOGGED = Counter("fer_logged_predictions", "Predictions for the log, by what became of them.", ["outcome"])
SHADOWED = Counter("fer_shadow_faces", "Faces for the challenger, by whether it agreed with the champion's answer.", ["outcome"])
SHADOW_DIFFERENCE = Histogram(
    "fer_shadow_difference", "Mean absolute difference of the two models' probabilities of a face.", buckets=_DIFFERENCES
)
SHADOW_SECONDS = Histogram("fer_shadow_seconds", "Time of a face in the network alone.", ["model"], buckets=_NETWORK_SECONDS)
SHADOW_MODELS = Counter("fer_shadow_models", "Challengers that came while serving, by whether they work.", ["outcome"])
SHADOW_LOGGED = Counter("fer_shadow_logged", "Comparisons for the log of shadow mode, by what became of them.", ["outcome"])
FEEDBACK = Counter("fer_feedback", "Corrections by people, by what became of them in the service.", ["outcome"])
CORRECTIONS = Counter(
    "fer_corrections", "Corrections by people, by what was answered and what they say.", ["answered", "corrected"]
)
VIDEOS = Counter("fer_videos", "Videos, by how their analysis ended.", ["outcome"])


def count(source: str, faces: Iterable[FaceEmotion], seconds: float) -> None:
    """Counts one answer; `source` is "picture" or "camera"."""
    SECONDS.labels(source).observe(seconds)
    for face in faces:
        FACES.labels(source, face.emotion).inc()


def told() -> bytes:
    """Return all metrics in Prometheus' text format, summed over the workers."""
    registry = REGISTRY
    if _SHARED in os.environ:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_worker() -> None:
    """Takes what this worker has open at its end, its cameras, out of the sums."""
    if _SHARED in os.environ:
        multiprocess.mark_process_dead(os.getpid())  # type: ignore[no-untyped-call]


class CountRequests:
    """ASGI middleware that counts requests by the pattern of their route.

    The pattern is for example `/video/{job}`, and `other` for requests without a route.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                REQUESTS.labels(getattr(scope.get("route"), "path", "other"), message["status"]).inc()
            await send(message)

        await self._app(scope, receive, send_counted)
