"""The shape of the tree that docs/house.md describes: small rooms, small modules, short names."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = sorted((ROOT / "fer_pipeline").rglob("*.py"))
CODE = [*PACKAGE, *(file for folder in ("flows", "benchmarks", "tools") for file in sorted((ROOT / folder).rglob("*.py")))]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def test_only_the_foundations_lie_at_the_root_of_the_package() -> None:
    loose = {file.stem for file in PACKAGE if file.parent == ROOT / "fer_pipeline"}
    assert loose == {"__init__", "environment", "errors", "labels", "model_info", "schemas"}
    assert {file.stem for file in PACKAGE if file.parent == ROOT / "fer_pipeline" / "imaging"} == {  # the sixth, a folder
        "__init__",
        "decoding",
        "jpeg_scans",
    }


def test_no_room_has_more_than_12_modules() -> None:
    """The command line is the exception: one module per group of commands."""
    sizes = Counter(name_of(file.parent) for file in PACKAGE if file.name != "__init__.py")
    assert {room: size for room, size in sizes.items() if size > 12 and room != "fer_pipeline/cli"} == {}


@pytest.mark.parametrize("files", [CODE, TESTS], ids=["code", "tests"])
def test_no_module_has_more_than_300_lines(files: list[Path]) -> None:
    lines = {name_of(file): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_docstrings_begin_with_a_line_of_at_most_80_characters() -> None:
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    too_long = [
        f"{name_of(file)}:{getattr(node, 'lineno', 1)}: {first}"
        for file in CODE
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, kinds) and len(first := (ast.get_docstring(node) or "").partition("\n")[0]) > 80
    ]
    assert too_long == []


def test_test_names_have_at_most_60_characters() -> None:
    too_long = [
        f"{name_of(file)}: {node.name}"
        for file in TESTS
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) > 60
    ]
    assert too_long == []


def test_test_files_mirror_modules_of_the_package() -> None:
    """tests/ROOM/test_MODULE*.py stands for fer_pipeline/ROOM/MODULE.py; what joins rooms lies in tests/ or tests/e2e."""
    rooms = {path.relative_to(ROOT / "fer_pipeline").as_posix() for path in (ROOT / "fer_pipeline").rglob("*") if path.is_dir()}
    elsewhere = {"e2e", "fixtures", "flows", "benchmarks", "tools", "deploy"}
    folders = {file.parent.relative_to(ROOT / "tests").as_posix() for file in TESTS if file.name.startswith("test_")} - {"."}
    strays = {folder for folder in folders if folder.split("/")[0] not in elsewhere and folder not in rooms}
    assert strays == set()
