"""A worker whose model is replaced while it serves."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import numpy as np

from fer_pipeline.imaging import encode_png
from fer_pipeline.serving.background.loaded_model import LoadedModel
from fer_pipeline.serving.background.model_watcher import ModelWatcher
from fer_pipeline.serving.sandbox.video_jobs import VideoJobs
from fer_pipeline.serving.settings import Limits
from fer_pipeline.workspace.files import replaced_folder
from tests.serving.asking import app_with, state_of

FLAT_FACE = encode_png(np.full((48, 48), 125, np.uint8))  # class 3 of the brightness model, happy


ADMIT_ALL = Limits(max_uploads=64, max_waiting=64)


def place(model: Path, bundle: Path) -> None:
    with replaced_folder(bundle) as aside:
        shutil.copytree(model, aside, dirs_exist_ok=True)


class Service:
    def __init__(self, bundle: Path, videos: Path, limits: Limits, token: str | None) -> None:
        loaded = LoadedModel.read(bundle)
        self.jobs = VideoJobs(videos, bundle, limits)
        self.state = state_of(loaded.recognizer, limits, token, self.jobs)
        self.state.serve(loaded)
        self.watcher = self.state.watcher = ModelWatcher(bundle, loaded, self.state.serve)
        self.app = app_with(self.state)

    def network(self) -> str:
        return self.state.recognizer.info.network

    def wait_for(self, network: str) -> None:
        end = time.monotonic() + 20
        while self.network() != network:
            assert time.monotonic() < end, f"{self.network()} still answers"
            time.sleep(0.02)
