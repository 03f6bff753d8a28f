"""Who may import what, by the packages ("rooms") of fer_pipeline; a breach is named with file and line."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = sorted([*(ROOT / "fer_pipeline").rglob("*.py"), *(ROOT / "flows").rglob("*.py")])

ONLY_ROOMS = {  # package -> the files or folders that may import it
    "pyspark": (
        "fer_pipeline/data/spark/session.py",
        "fer_pipeline/data/preprocess/feedback_rows.py",
        "fer_pipeline/data/spark/errors.py",
        "fer_pipeline/data/spark/mapping.py",
        "fer_pipeline/models/baseline/logistic.py",
        "fer_pipeline/data/preprocess/writer.py",
        "fer_pipeline/data/preprocess/ranking.py",
        "fer_pipeline/data/preprocess/preprocess.py",
        "fer_pipeline/data/preprocess/splitting.py",
        "fer_pipeline/data/preprocess/duplicates.py",
    ),
    "great_expectations": ("fer_pipeline/data/validate/suite.py", "fer_pipeline/feedback/checks.py"),
    "mlflow": (
        "fer_pipeline/experiments/runs.py",
        "fer_pipeline/experiments/registry.py",
        "fer_pipeline/experiments/mlflow_store.py",
    ),
    "dvc": ("fer_pipeline/workspace/dvc.py",),
    "prefect": ("flows/",),
    "bentoml": (
        "fer_pipeline/serving/service.py",
        "fer_pipeline/promotion/packaging.py",
        "fer_pipeline/serving/http/bentoml_timeout.py",
    ),
    "tensorflow": ("fer_pipeline/models/export.py", "fer_pipeline/analysis/explain/gradcam.py"),
    "optuna": ("fer_pipeline/experiments/search/study.py",),
    "lime": ("fer_pipeline/analysis/explain/lime.py",),
    "tf2onnx": ("fer_pipeline/models/export.py",),
    "keras": ("fer_pipeline/modeling/",),
    "typer": ("fer_pipeline/cli/",),
}
ROOMS = ("datasets", "modeling", "inference", "serving", "monitoring", "cli")
ALLOWED_ROOMS = {  # room -> other rooms it may import
    "datasets": set(),
    "modeling": set(),
    "inference": set(),
    "monitoring": set(),
    "serving": {"inference", "monitoring"},
    "cli": {"datasets", "modeling", "inference", "serving", "monitoring"},
    "core": set(),
}
JOINS = (
    "fer_pipeline/promotion/champion.py",
    "fer_pipeline/promotion/rollback.py",
    "fer_pipeline/promotion/candidates.py",
    "fer_pipeline/promotion/gate.py",
    "fer_pipeline/experiments/version_info.py",
    "fer_pipeline/promotion/status.py",
    "fer_pipeline/experiments/tracked_stages.py",
    "fer_pipeline/promotion/register_pretrained.py",
    "fer_pipeline/models/publish_pretrained.py",
    "fer_pipeline/scoring/score.py",
    "fer_pipeline/experiments/baseline.py",
    "fer_pipeline/experiments/search/tune.py",
    "fer_pipeline/models/distillation.py",
    "fer_pipeline/models/ensemble.py",
    "fer_pipeline/balancing.py",
    "fer_pipeline/monitoring/drift_check.py",
    "fer_pipeline/feedback/review.py",
    "fer_pipeline/cli/doctor.py",
)  # core-level modules whose purpose is to join rooms
PARAMETER_ROOMS = (
    "fer_pipeline/config/params.py",
    "fer_pipeline/config/editing.py",
    "fer_pipeline/workspace/dvc.py",
    "fer_pipeline/cli/doctor.py",
)
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


@pytest.mark.parametrize("package", ONLY_ROOMS)
def test_a_tool_is_imported_in_its_room_only(package: str) -> None:
    breaches = [
        f"{place(file)}:{line} imports {name}"
        for file in CODE
        for line, name in imports(file)
        if name.split(".")[0] == package and not place(file).startswith(ONLY_ROOMS[package])
    ]
    assert not breaches, f"{package} belongs in {ONLY_ROOMS[package]}"


def test_imports_run_one_way() -> None:
    breaches = []
    for file in CODE:
        parts = file.relative_to(ROOT).parts
        room = "flows" if parts[0] == "flows" else parts[1] if parts[1] in ROOMS else "core"
        if room == "flows" or place(file) in JOINS:
            continue
        for line, name in imports(file):
            words = name.split(".")
            other = words[1] if words[0] == "fer_pipeline" and len(words) > 1 and words[1] in ROOMS else None
            if other and other != room and other not in ALLOWED_ROOMS[room]:
                breaches.append(f"{place(file)}:{line} ({room}) imports {name}")
            if words[0] == "flows" and room != "cli":
                breaches.append(f"{place(file)}:{line} ({room}) imports {name}")
    assert not breaches


def test_only_the_image_path_resizes_or_converts_colours() -> None:
    breaches = [
        f"{place(file)}:{node.lineno} uses cv2.{node.attr}"
        for file in CODE
        if place(file) != "fer_pipeline/imaging.py"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in RESIZERS
        and isinstance(node.value, ast.Name)
        and node.value.id == "cv2"
    ]
    assert not breaches


def test_only_the_params_modules_read_and_write_the_parameter_file() -> None:
    breaches = [
        f"{place(file)}:{line}"
        for file in CODE
        if place(file) not in PARAMETER_ROOMS
        for line, name in imports(file)
        if name.split(".")[0] in ("yaml", "ruamel")
    ]
    assert not breaches


def test_the_labels_import_nothing_of_the_project() -> None:
    assert not [name for _, name in imports(ROOT / "fer_pipeline" / "labels.py") if name.startswith("fer_pipeline")]


@pytest.mark.parametrize(
    "file", [file for file in CODE if place(file).startswith(("flows/", "fer_pipeline/serving/service"))], ids=place
)
def test_flows_and_the_service_stay_thin(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) < 100


def test_the_training_core_needs_neither_registry_nor_spark_nor_dvc() -> None:
    _import_blocked(
        "fer_pipeline.training.untracked", ("mlflow", "pyspark", "dvc", "prefect", "great_expectations", "bentoml", "typer")
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


@pytest.mark.parametrize("module", ["recognizer", "face_rows"])
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
