"""The app without a server: made of a recognizer, and what its refusals say."""

from __future__ import annotations

from pathlib import Path

import httpx
import numpy as np
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fer_pipeline.imaging import encode_png
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.app import create_app, set_state
from fer_pipeline.serving.http.admission import AdmissionController
from fer_pipeline.serving.sandbox.decoder_pool import DecoderPool
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits
from fer_pipeline.serving.state import ServiceState

FLAT_FACE = encode_png(np.full((48, 48), 125, np.uint8))  # class 3, happy


def state_of(
    recognizer: Recognizer, limits: Limits | None = None, token: str | None = None, jobs: VideoJobs | None = None
) -> ServiceState:
    limits = limits or Limits()
    jobs = jobs or VideoJobs(Path("nowhere"), Path("nowhere"), limits)
    return ServiceState(recognizer, AdmissionController(limits, token), jobs)


def app_with(state: ServiceState) -> FastAPI:
    app = create_app()
    set_state(app, state)
    return app


def app_of(recognizer: Recognizer, limits: Limits | None = None, token: str | None = None) -> FastAPI:
    return app_with(state_of(recognizer, limits, token))


def client_of(recognizer: Recognizer, limits: Limits | None = None, token: str | None = None) -> TestClient:
    return TestClient(app_of(recognizer, limits, token), raise_server_exceptions=False)


def closed_sandbox() -> DecoderPool:
    """A sandbox that can start no decoder, as while closing or without memory for another process."""
    sandbox = DecoderPool(0, Limits())
    sandbox._idle.put(None)
    sandbox.close()
    return sandbox


def error_of(answer: httpx.Response) -> str:
    assert set(answer.json()) == {"error"}
    assert answer.json()["error"]["message"]
    return str(answer.json()["error"]["code"])
