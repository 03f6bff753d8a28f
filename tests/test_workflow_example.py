"""The GitHub Actions workflow in docs/operations.md: it is YAML, and each command in it exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from dvc.cli.parser import get_main_parser

from tests.cli.test_messages import unknown

ROOT: Final = Path(__file__).parents[1]
(TEXT,) = re.findall(r"```yaml\n(# \.github/.*?)```", (ROOT / "docs" / "operations.md").read_text(encoding="utf-8"), re.DOTALL)
WORKFLOW: Final[dict[Any, Any]] = yaml.safe_load(TEXT)
STEPS: Final = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
LINES: Final = [line for step in STEPS for line in step.get("run", "").splitlines()]


def lines_of(program: str) -> list[str]:
    found = [re.sub(r"\$\{\{.*?\}\}", "VALUE", line) for line in LINES if line.split()[0] == program]
    return [re.split(r" (?:>|>>|#) ?", line)[0] for line in found]


def test_each_step_runs_or_uses_something_pinned() -> None:
    assert all(("run" in step) != ("uses" in step) for step in STEPS)
    assert all(re.fullmatch(r"[\w.-]+/[\w.-]+@v\d+", step["uses"]) for step in STEPS if "uses" in step)
    assert WORKFLOW[True].keys() == {"pull_request", "push"}  # YAML 1.1 reads the key `on` as true
    assert {line.split()[0] for line in LINES} == {"make", "echo", "dvc", "fer", "gh"}


def test_its_secrets_are_named_at_its_head() -> None:
    named = set(TEXT.splitlines()[0].partition("secrets: ")[2].split(", "))
    assert set(re.findall(r"secrets\.(\w+)", TEXT)) == named


@pytest.mark.parametrize("line", lines_of("fer"))
def test_its_commands_of_fer_exist(line: str) -> None:
    assert unknown(line.removeprefix("fer ")) is None


@pytest.mark.parametrize("line", lines_of("dvc"))
def test_its_commands_of_dvc_exist(line: str) -> None:
    words = [word.strip('"') for word in line.split()[1:]]
    assert get_main_parser().parse_args(words).func is not None


@pytest.mark.parametrize("line", lines_of("make"))
def test_its_targets_of_make_exist(line: str) -> None:
    target, *variables = line.split()[1:]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, re.MULTILINE)
    assert all(f"$({variable.partition('=')[0]}" in makefile for variable in variables)
