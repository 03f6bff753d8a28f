from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.cli.renamed import RENAMED
from fer_pipeline.errors import ParamsError

ROOT = Path(__file__).parents[1]
FER = Path(sys.executable).with_name("fer")
COMMANDS = (
    "run", "doctor", "report", "promote", "rollback", "models list", "package", "serve", "fetch", "preprocess",
    "validate", "train", "evaluate", "export", "predict", "video", "data add", "data download", "data status",
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


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_earlier_name_of_a_command_names_the_new_one(old: str, new: str) -> None:
    from typer.testing import CliRunner

    from fer_pipeline.cli.app import app

    for arguments in ([], ["--help"], ["champion", "--weight", "0.5"]):
        error = CliRunner().invoke(app, [*old.split(), *arguments]).exception
        assert isinstance(error, ParamsError)
        assert (error.exit_code, str(error)) == (2, f"`fer {old}` has a new name: use `{new}`")


def test_the_new_name_of_a_command_exists() -> None:
    from typer.main import get_command

    from fer_pipeline.cli.app import app

    for line in RENAMED.values():
        words = line.split()
        if words[0] == "python":
            assert (ROOT / words[2].replace(".", "/")).with_suffix(".py").is_file(), line
            continue
        command: Any = get_command(app)
        for word in words[1:]:
            if not word.startswith("-"):
                command = command.commands[word]
        assert not command.hidden
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        assert {word for word in words if word.startswith("-")} <= options


@pytest.mark.parametrize("tool", ["publish_pretrained", "list_training_images"])
def test_a_script_of_tools_says_what_it_takes_and_reports_errors_like_fer(tool: str, tmp_path: Path) -> None:
    """The scripts that replace commands have help, and end with the message and exit code of an error."""
    command = [sys.executable, "-m", f"tools.{tool}"]
    told = subprocess.run([*command, "--help"], cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)
    assert told.returncode == 0
    assert "--processed" in told.stdout
    arguments = ["fast"] if tool == "publish_pretrained" else [str(tmp_path), "--processed", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode in range(2, 9)
    assert "error:" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_is_a_message_and_an_exit_code_not_a_stack_trace(tmp_path: Path) -> None:
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
    (tmp_path / "params.yaml").write_text((Path(__file__).parents[1] / "params.yaml").read_text())
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
    for package in ("tensorflow", "keras", "pyspark", "mlflow", "prefect", "great_expectations", "bentoml", "pandas"):
        assert f"'{package}'" not in done.stdout
