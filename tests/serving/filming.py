"""Videos for the tests, and workers that analyse them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import av
from fastapi.testclient import TestClient

from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits
from tests.serving.asking import app_with, state_of


def video(folder: Path, image: UInt8Array, frames: int, name: str = "film.mp4") -> bytes:
    path = folder / name
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4" if name.endswith(("mp4", "avi")) else "libvpx", rate=25)
        stream.width, stream.height, stream.pix_fmt = image.shape[1], image.shape[0], "yuv420p"
        for _ in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path.read_bytes()


class Service:
    """A worker of a service whose videos lie in `root`."""

    def __init__(self, model: Path, root: Path, limits: Limits, token: str | None = None) -> None:
        self.jobs = VideoJobs(root, model, limits)
        app = app_with(state_of(Recognizer.load(model), limits, token, self.jobs))
        self.http = TestClient(app, raise_server_exceptions=False)

    def send(self, content: bytes) -> str:
        answer = self.http.post("/video", content=content)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["job"])

    def state(self, job: str) -> Any:
        return self.http.get(f"/video/{job}").json()

    def wait(self, job: str, *states: str) -> Any:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            state = self.state(job)
            if state["state"] in (states or ("done", "failed")):
                return state
            time.sleep(0.05)
        raise AssertionError(state)


def error_of(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]
