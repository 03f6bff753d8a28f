"""Folders of Prefect and BentoML are tried before they start."""

from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.inference.detection.yunet_download import find_yunet
from fer_pipeline.promotion.bundle.store import store_folder
from fer_pipeline.workspace import homes


def test_a_home_that_can_be_written_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "new" / "prefect"))
    homes.check_homes("Prefect", "BentoML")
    assert list((tmp_path / "new" / "prefect").iterdir()) == []


@pytest.mark.parametrize(("tool", "variable"), [("Prefect", "PREFECT_HOME"), ("BentoML", "BENTOML_HOME")])
def test_a_home_that_cannot_be_written_is_named(
    tool: homes.Tool, variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names folder and variable; a file in its place stops root, too."""
    (tmp_path / "home").write_text("a file")
    monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with pytest.raises(ToolUnavailableError, match=f"(?s){tool} cannot use its folder {tmp_path}/home/.*{variable}="):
        homes.check_homes(tool)


def test_a_user_without_home_is_told_the_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Containers run users that have no entry in /etc/passwd."""
    for name in ("PREFECT_HOME", "BENTOML_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory.")))
    with pytest.raises(ToolUnavailableError, match=r"(?s)HOME is not set.*PREFECT_HOME=.*\n.*BENTOML_HOME="):
        homes.check_homes("Prefect", "BentoML")  # both at once, so that one answer mends both
    assert find_yunet() is None
    assert store_folder() is None


def test_a_detector_that_cannot_be_looked_for_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fetched detector is optional: a folder that may not be searched holds none."""

    def refused(_path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Path, "is_file", refused)
    assert find_yunet() is None
