"""A generated video of two faces, and the rows of its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoOptions

SMALL = VideoOptions(detect_every=5, detection_side=160)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, write_video: Any, spots: Any) -> Path:
    """3 s, 25 frames a second. One face the whole time, happy for 2 s and then neutral; from 1 s to 2 s another, sad."""
    pictures = []
    for n in range(75):
        other = [(100, 60, 40, 160)] if 25 <= n < 50 else []
        pictures.append(spots((10, 20, 40, 125 if n < 50 else 230), *other))
    path: Path = write_video(tmp_path_factory.mktemp("film") / "film.mp4", pictures)
    return path


@pytest.fixture
def recognizer(brightness_model: Path, blobs: Any) -> Recognizer:
    return Recognizer.load(brightness_model, blobs)


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "faces.jsonl").read_text().splitlines()]
