"""Videos whose people are read relative to a neutral face."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.neutral import resting
from fer_pipeline.inference.neutral.reference import NeutralReference
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.video.analysis import VideoOptions, VideoProgress, analyse
from tests.inference.video.conftest import rows


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, write_video: Any, spots: Any) -> Path:
    """3 s, 25 frames a second: one looks surprised at rest (2.4 s), then angry; one smiles the whole time."""
    pictures = [spots((10, 20, 40, 205 if n < 60 else 90), (100, 60, 40, 125)) for n in range(75)]
    path: Path = write_video(tmp_path_factory.mktemp("film") / "film.mp4", pictures)
    return path


def options(**values: Any) -> VideoOptions:
    return VideoOptions(detect_every=5, detection_side=160, annotate=False, **values)


def test_auto_reads_each_person_relative_to_the_own_face(
    film: Path, recognizer: Recognizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = analyse(film, recognizer, tmp_path / "plain", options=options())
    before = rows(tmp_path / "plain")
    assert [track.neutral_reference for track in plain.tracks] == [None, None]
    assert {row["neutral_reference"] for row in before} == {None}
    monkeypatch.setattr(resting, "MIN_TRACK_SECONDS", 2.0)
    summary = analyse(film, recognizer, tmp_path / "auto", options=options(neutral="auto"))
    assert [track.neutral_reference for track in summary.tracks] == ["track", None]
    assert summary.notes == ("read relative to their own neutral faces, estimated from their tracks: person 1",)
    after = rows(tmp_path / "auto")
    first = [row for row in after if row["track"] == 1]
    assert {row["emotion"] for row in first[:60]} == {"neutral"}  # from the first frame on
    assert "neutral" not in {row["top_emotion"] for row in first[60:]}
    assert {row["emotion"] for row in before if row["track"] == 1 and row["frame"] < 60} == {"surprise"}
    assert [row for row in after if row["track"] == 2] == [row for row in before if row["track"] == 2]


def test_auto_says_where_nobody_has_an_estimate(film: Path, recognizer: Recognizer, tmp_path: Path) -> None:
    told: list[VideoProgress] = []
    summary = analyse(film, recognizer, tmp_path, options=options(neutral="auto"), on_progress=told.append)
    read = [done.frames for done in told]
    assert read[:5] == [16, 32, 48, 64, 75]
    assert read[5] <= 16  # the second reading; its frames count once they are written
    assert read[-1] == 75
    assert summary.notes == ("no neutral face could be estimated: nobody is seen for 10 s, mostly at rest",)
    assert {row["neutral_reference"] for row in rows(tmp_path)} == {None}


def test_a_given_face_is_used_for_all_and_said(film: Path, recognizer: Recognizer, tmp_path: Path, spots: Any) -> None:
    reference = recognizer.reference(spots((10, 20, 40, 205)))
    summary = analyse(film, recognizer, tmp_path, options=options(neutral=reference))
    assert summary.notes == ("read relative to the neutral face that was given, which is of one person: 2 were seen",)
    assert {row["neutral_reference"] for row in rows(tmp_path)} == {"given"}
    assert rows(tmp_path)[0]["emotion"] == "neutral"
    again = analyse(film, recognizer, tmp_path, options=options(neutral=reference))
    assert (again.skipped, again) == (True, summary)
    assert json.loads((tmp_path / "summary.json").read_text())["tracks"][0]["neutral_reference"] == "given"
    other = NeutralReference(reference.log_probabilities, reference.fingerprint, 1, tau=2.0)
    assert not analyse(film, recognizer, tmp_path, options=options(neutral=other)).skipped
    with pytest.raises(ModelError, match="made by the model abc"):
        analyse(film, recognizer, tmp_path / "refused", options=options(neutral=NeutralReference((-1.0,) * 7, "abc", 1)))
