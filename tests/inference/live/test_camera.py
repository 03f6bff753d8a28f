from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.live.camera import camera_frames, watch
from fer_pipeline.inference.live.window import Window
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.stream import FaceStream


@pytest.fixture
def recognizer(brightness_model: Path, blobs: Any) -> Recognizer:
    return Recognizer.load(brightness_model, blobs)


def test_frames_are_shown_with_faces_until_the_window_closes(recognizer: Recognizer, spots: Any) -> None:
    shown: list[Any] = []

    def show(image: Any) -> bool:
        shown.append(image)
        return len(shown) < 3

    image = spots((40, 40, 60, 125))
    seen = watch(iter([image] * 9), FaceStream(recognizer), show, mirror=True)
    assert (seen.frames, len(shown)) == (3, 3)
    assert seen.fps > 0
    changed = np.argwhere((shown[0] != image[:, ::-1]).any(axis=2))
    assert len(changed) > 0
    assert changed[:, 1].mean() > image.shape[1] / 2  # the spot is at the left, and the mirror shows it at the right
    assert watch(iter([]), FaceStream(recognizer), show).fps == 0


def test_frames_come_in_rgb(tmp_path: Path, write_video: Any) -> None:
    """OpenCV opens a file as it opens a camera."""
    red = np.zeros((48, 64, 3), np.uint8)
    red[:, :, 0] = 250
    frames = list(camera_frames(str(write_video(tmp_path / "film.avi", [red] * 3, codec="ffv1"))))
    assert len(frames) == 3
    assert np.abs(frames[0].astype(int) - red).max() < 8


def test_a_camera_that_is_not_there_is_named() -> None:
    with pytest.raises(ToolUnavailableError, match="camera 77 cannot be opened"):
        next(camera_frames(77))


def test_without_a_display_the_page_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tkinter")
    monkeypatch.delenv("DISPLAY", raising=False)
    with pytest.raises(ToolUnavailableError, match="`fer serve` has a live camera"):
        Window("none")
