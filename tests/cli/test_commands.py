from __future__ import annotations

from typing import Any

import pytest
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.cli.commands import ENTRIES, PANELS, load

GROUPS = ["Run", "Data", "Train and measure", "Models", "Use", "Operate"]


def test_help_has_the_groups_with_at_most_eight_commands() -> None:
    assert list(PANELS) == GROUPS
    assert {panel: len(entries) for panel, entries in PANELS.items() if len(entries) > 8} == {}
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    assert [line for line in lines if line in GROUPS] == GROUPS
    assert {line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "} == set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_summary_is_the_first_line_of_the_help(name: str) -> None:
    command: Any = load(name)
    assert command.name == name
    assert command.help.splitlines()[0] == ENTRIES[name].summary
