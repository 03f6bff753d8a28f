from __future__ import annotations

import resource
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FER = Path(sys.executable).with_name("fer")
COMMANDS = (
    "run", "doctor", "report", "promote", "rollback", "models list", "package", "serve", "fetch", "preprocess",
    "validate", "train", "evaluate", "export", "predict", "video", "camera", "data add", "data download", "data status",
    "profile list", "profile use", "profile save", "tune", "label-noise", "distill", "ensemble", "adjust-logits",
    "ui mlflow", "ui prefect", "evaluate-dataset", "robustness", "explain", "explain-report",
    "score", "baseline", "card", "monitor drift", "models show", "models compare", "models register", "models fetch", "status",
    "feedback status", "feedback list", "feedback review", "feedback accept", "feedback reject", "feedback delete",
    "feedback purge",
    "shadow report", "shadow start", "shadow stop",
)  # fmt: skip


def fer(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([FER, *arguments], cwd=cwd, capture_output=True, text=True, check=False, timeout=120)


def test_every_command_has_help_with_an_example(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    for command in COMMANDS:
        result = CliRunner().invoke(app, [*command.split(), "--help"])
        assert result.exit_code == 0, command
        assert "Example:" in result.output, command


def test_an_error_is_a_message_and_an_exit_code(tmp_path: Path) -> None:
    done = fer("profile", "list", cwd=tmp_path)
    assert done.returncode == 2
    assert "params.yaml is missing: run from the root" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("missing.csv", "missing.csv"),  # a missing file
        ("empty.csv", "empty.csv"),  # an empty CSV
    ],
)
def test_a_source_that_cannot_be_read_leaves_the_earlier_table(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[2] / "params.yaml").read_text())
    (tmp_path / "empty.csv").touch()
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "faces.parquet").write_text("earlier")
    done = fer("fetch", "--source", source, "--out", "raw", cwd=tmp_path)
    assert done.returncode == 3
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "raw" / "faces.parquet").read_text() == "earlier"


def test_help_comes_without_loading_the_heavy_libraries(tmp_path: Path) -> None:
    script = """
import sys
from fer_pipeline.cli import main
sys.argv = ["fer", "--help"]
try:
    main()
finally:
    print(sorted(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "'typer'" in done.stdout
    for package in (
        "tensorflow",
        "keras",
        "pyspark",
        "mlflow",
        "prefect",
        "great_expectations",
        "bentoml",
        "pandas",
        "cv2",
        "numpy",
    ):
        assert f"'{package}'" not in done.stdout


def test_without_arguments_fer_prints_its_help_at_little_cost(tmp_path: Path) -> None:
    def cost() -> float:
        spent = resource.getrusage(resource.RUSAGE_CHILDREN)
        return spent.ru_utime + spent.ru_stime

    costs = []
    for _ in range(3):
        before = cost()
        done = fer(cwd=tmp_path)
        costs.append(cost() - before)
        assert done.returncode == 0
        assert "predict" in done.stdout
    assert min(costs) < 0.3  # seconds of CPU time; 1.0 when all commands were imported


def test_fer_tells_its_version(tmp_path: Path) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert fer("--version", cwd=tmp_path).stdout == f"fer-pipeline {project['version']}\n"


def test_a_mistyped_command_gets_a_suggestion(tmp_path: Path) -> None:
    done = fer("predikt", cwd=tmp_path)
    assert done.returncode == 2
    assert "Did you mean 'predict'?" in done.stderr
