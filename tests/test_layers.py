"""The import contracts of pyproject.toml hold and can fail; light modules stay light."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "fer_pipeline").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])

RESIZERS = {"resize", "cvtColor", "warpAffine", "INTER_AREA"}


@cache
def imports(file: Path) -> tuple[tuple[int, str], ...]:
    found: list[tuple[int, str]] = []
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append((node.lineno, node.module))
            found += ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
    return tuple(found)


def place(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


CONTRACTS: list[dict[str, Any]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


@pytest.fixture(scope="module")
def report() -> str:
    return linted(ROOT)


def linted(folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo", "--no-cache"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "1000"})
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", [contract["name"] for contract in CONTRACTS])
def test_contract_is_kept(name: str, report: str) -> None:
    assert f"{name} KEPT" in report, report


@pytest.mark.parametrize(
    ("room", "line", "broken"),
    [
        ("metrics", "import fer_pipeline.training", "A room imports only rooms below it"),
        ("metrics", "def late() -> None:\n    from fer_pipeline import training", "A room imports only rooms below it"),
        ("scoring", "import fer_pipeline.monitoring", "A room imports only rooms below it"),
        ("cli", "def late() -> None:\n    import mlflow", "MLflow in its rooms only"),
    ],
)
def test_a_breach_is_found(room: str, line: str, broken: str, tmp_path: Path) -> None:
    """The contracts fail on a tree of empty rooms with one import that they forbid, also where it is lazy."""
    for module in ROOT.glob("fer_pipeline/**/__init__.py"):
        target = tmp_path / module.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    for name in ("errors", "labels", "model_info", "schemas", "environment", "workspace/dvc", "cli/doctor"):
        (tmp_path / "fer_pipeline" / f"{name}.py").touch()
    (tmp_path / "flows").mkdir()
    for name in ("__init__", "automations"):
        (tmp_path / "flows" / f"{name}.py").touch()
    for contract in CONTRACTS:  # the linter wants to see every package that a contract names
        if contract["type"] == "protected":
            allowed = tmp_path / contract["allowed_importers"][0].replace(".", "/")
            lines = "".join(f"import {package}\n" for package in contract["protected_modules"])
            (allowed / f"tool_{contract['protected_modules'][0]}.py").write_text(lines)
    (tmp_path / "fer_pipeline" / room / "breach.py").write_text(line)
    shutil.copy2(ROOT / "pyproject.toml", tmp_path)
    found = linted(tmp_path)
    assert f"{broken} BROKEN" in found, found
    assert found.count("BROKEN") == 1, found


def test_only_the_image_path_resizes_or_converts_colours() -> None:
    breaches = [
        f"{place(file)}:{node.lineno} uses cv2.{node.attr}"
        for file in CODE
        if not place(file).startswith("fer_pipeline/imaging/")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in RESIZERS
        and isinstance(node.value, ast.Name)
        and node.value.id == "cv2"
    ]
    assert not breaches


def test_the_labels_import_nothing_of_the_project() -> None:
    assert not [name for _, name in imports(ROOT / "fer_pipeline" / "labels.py") if name.startswith("fer_pipeline")]


@pytest.mark.parametrize(
    "file", [file for file in CODE if place(file).startswith(("flows/", "fer_pipeline/serving/service"))], ids=place
)
def test_flows_and_the_service_stay_thin(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < 100


def test_training_needs_no_registry_spark_or_dvc() -> None:
    """The training core can be imported without them."""
    _import_blocked(
        "fer_pipeline.training.train", ("mlflow", "pyspark", "dvc", "prefect", "great_expectations", "bentoml", "typer")
    )


def test_a_roll_back_does_not_wait_for_what_it_does_not_need() -> None:
    _import_blocked(
        "fer_pipeline.promotion.rollback", ("matplotlib", "scipy", "keras", "tensorflow", "prefect", "great_expectations")
    )


def test_the_service_needs_no_training_stack() -> None:
    blocked = (
        "pyspark",
        "tensorflow",
        "keras",
        "mlflow",
        "prefect",
        "dvc",
        "great_expectations",
        "pandas",
        "pyarrow",
        "matplotlib",
    )
    _import_blocked("fer_pipeline.serving.service", blocked)


@pytest.mark.parametrize("module", ["recognizer", "pictures.face_table"])
def test_importing_the_recognizer_is_light(module: str) -> None:
    _import_blocked(
        f"fer_pipeline.inference.{module}", ("tensorflow", "keras", "pandas", "pyarrow", "pydantic", "fastapi", "bentoml")
    )


def _import_blocked(module: str, blocked: tuple[str, ...]) -> None:
    script = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ImportError(name + " is blocked")
sys.meta_path.insert(0, Blocker())
import {module}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
