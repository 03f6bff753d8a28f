"""What the service counts of itself, told on /metrics beside BentoML's own figures and summed over its workers."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram

from fer_pipeline.inference.recognizer import FaceEmotion

_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.35, 0.6, 1.0, 2.5, 5.0)

FACES = Counter("fer_faces", "Faces recognized, by the emotion that was answered.", ["source", "emotion"])
SECONDS = Histogram("fer_answer_seconds", "Time of decoding and recognition, without waiting.", ["source"], buckets=_SECONDS)
REFUSED = Counter("fer_refused", "Requests that were not served, by error code.", ["reason"])
CAMERA_FRAMES = Counter("fer_camera_frames", "Frames of live cameras, by what was answered.", ["outcome"])
CAMERAS = Gauge("fer_cameras", "Live camera sessions that are open.", multiprocess_mode="livesum")
RELOADS = Counter("fer_model_reloads", "Models that came while serving, by whether they took over.", ["outcome"])
LOGGED = Counter("fer_logged_predictions", "Predictions for the log, by what became of them.", ["outcome"])
VIDEOS = Counter("fer_videos", "Videos, by how their analysis ended.", ["outcome"])


def count(source: str, faces: Iterable[FaceEmotion], seconds: float) -> None:
    """Counts one answer; `source` is "picture" or "camera"."""
    SECONDS.labels(source).observe(seconds)
    for face in faces:
        FACES.labels(source, face.emotion).inc()
