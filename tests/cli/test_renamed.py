from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.cli.renamed import RENAMED
from fer_pipeline.errors import ParamsError

ROOT = Path(__file__).parents[2]


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
def test_a_script_of_tools_reports_errors_like_fer(tool: str, tmp_path: Path) -> None:
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
