from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.data.storage import bucket
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.scoring.faces import score_image


def test_a_failing_store_ends_the_run(brightness_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that fails ends the run and does not call its images unreadable."""
    monkeypatch.setattr(bucket, "_TRIES", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ToolUnavailableError, match=r"s3://faces/a\.png could not be used"):
        score_image(Recognizer.load(brightness_model), "detect", 0, "a.png", b"s3://faces/a.png", None)
