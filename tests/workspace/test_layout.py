"""Tests of workspace.layout."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from fer_pipeline.workspace import layout

ROOT = Path(__file__).parents[2]
LITERAL = re.compile(r"(?<![\w/])data/\w|mlflow\.db")
"""A path of the workspace, also inside a message."""

WHOLE = {str(path) for path in (layout.PARAMS, layout.DVC_STAGES, layout.DVC_LOCK, layout.DVC_CACHE, layout.MLFLOW_ARTIFACTS)}
"""Names that are allowed in sentences."""


def path_literals(code: str) -> Iterator[str]:
    """Yield the strings that hold a path of the workspace; docstrings and help texts may name one."""
    tree = ast.parse(code)
    allowed: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            allowed.add(id(node.value))
        if isinstance(node, ast.keyword) and node.arg == "help":
            allowed |= {id(part) for part in ast.walk(node.value)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or not isinstance(node.value, str) or id(node) in allowed:
            continue
        if LITERAL.search(node.value) or node.value in WHOLE:
            yield node.value


def test_a_temporary_dvc_experiment_belongs_to_its_workspace() -> None:
    root = Path("/home/a/faces")
    for folder in ("standalone/tmp0a1b", "tmp0a1b"):  # of --temp and --queue
        assert layout.workspace_root(root / ".dvc/tmp/exps" / folder) == root
    for other in (root, root / ".dvc/tmp/exps", root / "exps/tmp0a1b", Path("/")):
        assert layout.workspace_root(other) == other


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ('"""Read data/raw."""', []),
        ('Option(help="Folder, data/raw by default.")', []),
        ('open("data/raw")', ["data/raw"]),
        ('print(f"{name} lies in data/raw")', [" lies in data/raw"]),
        ('root / "params.yaml"', ["params.yaml"]),
        ('"the key is missing in params.yaml"', []),
    ],
)
def test_path_literals_are_found(code: str, found: list[str]) -> None:
    assert list(path_literals(code)) == found


def test_only_the_layout_holds_paths_of_the_workspace() -> None:
    files = [*(ROOT / "fer_pipeline").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    assert len(files) > 100
    found = {
        str(file.relative_to(ROOT)): literals
        for file in files
        if file != Path(layout.__file__) and (literals := list(path_literals(file.read_text(encoding="utf-8"))))
    }
    assert not found
