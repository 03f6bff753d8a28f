"""Data sources of a workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.experiments.tracked_stages import use_data


@pytest.fixture
def root(registered: Path) -> Path:
    return registered


def test_votes_and_synthetic_faces_do_not_go_together(root: Path) -> None:
    with pytest.raises(ParamsError, match="leave them out"):
        use_data(root, Path("synthetic"), Path("votes.csv"))


def test_a_source_that_cannot_be_read_does_not_become_the_source(root: Path) -> None:
    before = (root / "params.yaml").read_text()
    (root / "empty.csv").touch()
    with pytest.raises(SourceError, match="empty"):
        use_data(root, root / "empty.csv", None)
    assert (root / "params.yaml").read_text() == before
    assert not (root / "data" / "source").exists()
