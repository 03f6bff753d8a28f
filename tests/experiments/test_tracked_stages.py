"""Data sources of a workspace."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.config.params import load_params
from fer_pipeline.errors import ParamsError, SourceError
from fer_pipeline.experiments.tracked_stages import use_data
from fer_pipeline.workspace import dvc


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


def test_the_numbering_belongs_to_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is written with the source, and not kept for the next one."""
    monkeypatch.setattr(dvc, "add_source", lambda *_: "version")
    for name in ("0", "6"):
        (root / "faces" / name).mkdir(parents=True)
        (root / "faces" / name / "1.jpg").write_bytes(b"x")
    with pytest.raises(SourceError, match="are numbers"):
        use_data(root, root / "faces", None)
    use_data(root, root / "faces", None, "affectnet", "drop")
    fetch = load_params(root / "params.yaml").fetch
    assert (fetch.source, fetch.numbering, fetch.contempt) == ("data/source", "affectnet", "drop")
    (root / "named" / "sad").mkdir(parents=True)
    (root / "named" / "sad" / "1.jpg").write_bytes(b"x")
    use_data(root, root / "named", None)
    fetch = load_params(root / "params.yaml").fetch
    assert (fetch.numbering, fetch.contempt) == ("ask", "refuse")
    with pytest.raises(ParamsError, match="numbering 'afectnet', expected fer2013"):
        use_data(root, root / "faces", None, "afectnet")
