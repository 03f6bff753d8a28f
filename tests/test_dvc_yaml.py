"""dvc.yaml tells the truth: each stage lists the code it runs and the parameters it reads."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

from fer_pipeline.config.params import load_params
from fer_pipeline.evaluation.stored_metrics import DECIDING
from fer_pipeline.workspace.files import METRICS_FILE

ROOT = Path(__file__).parents[1]
STAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

ENTRY = {  # stage -> modules that its command calls
    "fetch": ["data/fetch/fetch"],
    "preprocess": ["data/preprocess/preprocess"],
    "validate": ["data/validate/suite"],
    "train": ["training/train", "training/artifacts"],
    "evaluate": ["evaluation/evaluate"],
    "export": ["models/export"],
    "card": ["analysis/card/card", "analysis/card/sections"],
}
# Code that stores and finds results but does not shape them, and that of params.yaml, whose values DVC watches one by one.
NOT_WATCHED = ("errors", "environment", "config/", "workspace/", "data/storage/")


def imported(module: str) -> set[str]:
    """Modules of fer_pipeline that a module imports, as paths without suffix."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "fer_pipeline" / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("fer_pipeline"):
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            for name in names:
                path = "/".join(name.split(".")[1:])
                for file in (f"{path}.py", f"{path}/__init__.py"):
                    if path and (ROOT / "fer_pipeline" / file).exists() and has_code(ROOT / "fer_pipeline" / file):
                        found.add(file.removesuffix(".py"))
    return found


def has_code(file: Path) -> bool:
    """Whether a module holds more than its docstring."""
    return len(ast.parse(file.read_text()).body) > 1


def closure(modules: list[str]) -> set[str]:
    seen: set[str] = set()
    queue = list(modules)
    while queue:
        module = queue.pop()
        if module not in seen and not module.startswith(NOT_WATCHED):
            seen.add(module)
            queue += imported(module)
    return seen


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_the_code_it_runs(stage: str) -> None:
    listed = [dep for dep in STAGES[stage]["deps"] if dep.startswith("fer_pipeline/")]
    assert all((ROOT / dep).exists() for dep in listed)
    needed = {f"fer_pipeline/{module}.py" for module in closure(ENTRY[stage])}
    missing = {file for file in needed if not any(file == dep or file.startswith(f"{dep}/") for dep in listed)}
    assert not missing


def test_a_report_page_or_a_metric_of_reports_retrains_nothing() -> None:
    """Of the metrics, training has those that it logs after an epoch, and the votes that it learns from."""
    deps = STAGES["train"]["deps"]
    assert not [dep for dep in deps if "reports" in dep or "evaluation" in dep]
    assert [dep for dep in deps if "metrics" in dep] == [
        "fer_pipeline/metrics/learning.py",
        "fer_pipeline/metrics/vote_shares.py",
    ]


def test_the_metrics_of_dvc_are_those_that_decide() -> None:
    """The others lie in a file that `dvc metrics diff` and `dvc exp show` do not read."""
    (path,) = yaml.safe_load((ROOT / "dvc.yaml").read_text())["metrics"]
    assert path == f"{STAGES['evaluate']['outs'][0]}/{METRICS_FILE}"
    assert len(DECIDING) == 8


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_reads_its_own_section_of_the_parameters(stage: str) -> None:
    assert STAGES[stage].get("params", []) == ([] if stage == "card" else [stage])  # the card has no values of its own
    assert stage == "card" or stage in load_params(ROOT / "params.yaml").model_dump(by_alias=True)


@pytest.mark.parametrize("stage", STAGES)
def test_outputs_can_be_restored_from_the_run_cache(stage: str) -> None:
    """An output with options, such as persist or no cache, may switch it off."""
    assert all(isinstance(output, str) for output in STAGES[stage]["outs"])


def test_every_stage_has_a_command_of_its_name() -> None:
    from fer_pipeline.cli.commands import ENTRIES

    assert set(STAGES) <= set(ENTRIES)
    assert all(stage["cmd"].startswith(f"fer {name} ") for name, stage in STAGES.items())


def test_outputs_are_ignored_by_git() -> None:
    ignored = (ROOT / "data" / ".gitignore").read_text().splitlines()
    for stage in STAGES.values():
        for output in stage["outs"]:
            top = output.split("/")[1]
            assert f"/{top}" in ignored
