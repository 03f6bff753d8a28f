from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from fer_pipeline.workspace import git


def test_the_commit_is_named_and_marked_where_code_differs(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    assert git.commit(tmp_path) == "none"
    (tmp_path / "code.py").write_text("")
    for command in (["add", "-A"], ["-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "x"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    clean = git.commit(tmp_path)
    assert len(clean) == 40
    (tmp_path / "code.py").write_text("1")
    assert git.commit(tmp_path) == f"{clean}-dirty"


def test_without_git_a_commit_is_not_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without git trains models that name no commit."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.commit(tmp_path) == "none"
