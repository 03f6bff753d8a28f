from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from dvc.repo import Repo

from tests.feedback.correcting import ROOT, Workspace, face, write_processed


@pytest.fixture(scope="session")
def empty_repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("repository")
    (folder / "data").mkdir()
    shutil.copy2(ROOT / "data" / ".gitignore", folder / "data")
    shutil.copy2(ROOT / "params.yaml", folder)
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    Repo.init(str(folder)).close()
    write_processed(folder / "data" / "processed", [(face(1), "train"), (face(2), "validation"), (face(3), "test")])
    return folder


@pytest.fixture
def workspace(empty_repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    root = tmp_path / "root"
    shutil.copytree(empty_repository, root)
    monkeypatch.chdir(root)
    return Workspace(root)
