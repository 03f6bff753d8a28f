from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoOptions, analyse
from fer_pipeline.inference.video.summary import VideoSummary
from tests.inference.video.conftest import SMALL, rows

UInt8Array = npt.NDArray[np.uint8]


def test_the_summary_tells_time_labels_and_peaks_of_each_person(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    summary = analyse(film, recognizer, tmp_path, options=SMALL)
    first, second = summary.people
    assert (first.track, second.track) == (1, 2)
    assert first.seen == pytest.approx(3.0, abs=0.01)
    assert first.shares["happy"] == pytest.approx(2 / 3, abs=0.15)  # neutral starts late by the smoothing
    assert sum(first.shares.values()) == pytest.approx(1)
    assert 1.0 <= second.seen <= 1.35  # it is followed for 0.3 s after it is gone
    assert first.changes_raw == 1
    assert set(first.peaks) == {"happy", "neutral"}
    assert first.peaks["neutral"].time > 2.5
    assert (tmp_path / first.peaks["happy"].file).read_bytes().startswith(b"\x89PNG")
    assert VideoSummary.finished(tmp_path, summary.fingerprint) == summary


def test_a_person_who_comes_back_late_is_a_new_one(tmp_path: Path, write_video: Any, spots: Any, recognizer: Recognizer) -> None:
    pictures = [spots((40, 40, 60, 125)) if n // 40 != 1 else spots() for n in range(120)]
    path = write_video(tmp_path / "film.mp4", pictures)
    summary = analyse(path, recognizer, tmp_path / "out", options=SMALL)
    assert [track.track for track in summary.tracks] == [1, 2]
    assert [track.first for track in summary.tracks] == pytest.approx([0.0, 3.2], abs=0.01)


def test_a_moving_drawn_face_is_one_person(
    tmp_path: Path, write_video: Any, drawn_face: UInt8Array, brightness_model: Path
) -> None:
    face = drawn_face[80:320, 180:420]
    pictures = []
    for n in range(30):
        picture = np.full((240, 480, 3), 150, np.uint8)
        picture[:, 6 * n : 6 * n + 240] = face
        pictures.append(picture)
    path = write_video(tmp_path / "film.mp4", pictures)
    summary = analyse(path, Recognizer.load(brightness_model), tmp_path / "out", options=VideoOptions(detect_every=5))
    assert len(summary.tracks) == 1
    assert summary.faces == 30
    left = [row["box"]["x"] for row in rows(tmp_path / "out")]
    assert left[5:] == pytest.approx([57 + 6 * n for n in range(5, 30)], abs=15)  # before the second search no speed is known
