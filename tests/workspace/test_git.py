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


def test_a_run_ends_with_the_line_that_commits_it(tmp_path: Path) -> None:
    """dvc.lock, params.yaml and the files of DVC, where they differ from the commit; running the line leaves nothing to say."""
    assert git.commit_advice(tmp_path) is None
    for command in (["init", "-q"], ["config", "user.name", "t"], ["config", "user.email", "t@example.org"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / ".gitignore").write_text("/source\n")
    for name in ("dvc.lock", "params.yaml", "data/source.dvc", "notes.txt", "my params.yaml"):
        (tmp_path / name).write_text("1")
    line = git.commit_advice(tmp_path)
    assert line is not None
    assert line.startswith("git add dvc.lock params.yaml data/source.dvc && git commit -m ")
    subprocess.run(line, shell=True, cwd=tmp_path, check=True, capture_output=True)
    assert git.commit_advice(tmp_path) is None
    (tmp_path / "params.yaml").write_text("2")
    assert "git add params.yaml &&" in (git.commit_advice(tmp_path) or "")


def test_without_git_there_is_no_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git.commit_advice(tmp_path) is None
