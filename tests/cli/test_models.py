"""`fer models`, `promote` and `rollback` on registered versions."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from typer.testing import CliRunner

from fer_pipeline.cli import models, status
from fer_pipeline.cli.app import app as fer
from fer_pipeline.config import editing
from fer_pipeline.experiments import registry
from fer_pipeline.promotion import champion


def version(number: int) -> registry.Version:
    return registry.find("fer", str(number))


def test_the_commands_print_tables_and_json(registered: Path, levels: Path, brightness_model: Path) -> None:
    import typer

    champion.set_champion(registered, version(1), None)
    editing.write_values(registered / "params.yaml", {"promote.bootstrap": 100})
    app = typer.Typer()
    app.command()(status.status)
    app.add_typer(models.app, name="models")
    for arguments, words in (
        (["status"], "fer version 1 (champion)"),
        (["models", "show", "champion"], "fingerprint"),
        (["models", "compare", "1", "challenger", "--params"], "temperature"),
        (["models", "compare", "champion", "3"], "McNemar"),
    ):
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 0, done.output
        assert words in done.output
        values = CliRunner().invoke(app, [*arguments, "--json"])
        assert isinstance(json.loads(values.stdout), dict)


def test_a_list_is_whole_off_a_terminal_and_in_json(registered: Path) -> None:
    """No cell is cut where nobody's window is too narrow for it; JSON has numbers and None."""
    champion.set_champion(registered, version(1), None)
    named = "a very long name of a data set that no terminal of eighty columns would show beside seven other columns"
    registry.tag_version(version(1), {"data": named, "accuracy": "0.6340"})
    done = CliRunner().invoke(fer, ["models", "list"])
    assert named in done.output
    assert "…" not in done.output
    third, _, first = json.loads(CliRunner().invoke(fer, ["models", "list", "--json"]).output)
    assert (third["number"], third["aliases"], third["accuracy"]) == (3, ["challenger"], None)
    assert (first["number"], first["aliases"], first["accuracy"], first["data"]) == (1, ["champion"], 0.634, named)
    shutil.copy2(Path(__file__).parents[2] / "profiles.yaml", registered)
    profiles = json.loads(CliRunner().invoke(fer, ["profile", "list", "--json"]).output)
    assert profiles["smoke"]["network"] == "compact"
    findings = json.loads(CliRunner().invoke(fer, ["doctor", "--json"]).output)
    assert {key: findings[0][key] for key in ("subject", "ok")} == {"subject": "Python", "ok": True}


def test_a_wrong_version_is_named_with_what_to_run(
    registered: Path,
) -> None:
    """The error names the wrong version, those that there are, and what to run."""
    champion.set_champion(registered, version(1), None)
    for arguments, words in (
        (["models", "show", "seventh"], "no version or alias 'seventh' (there is: 1, 2, 3, challenger, champion)"),
        (
            ["models", "compare", "1", "champion", "--params"],
            "1 and champion are both fer version 1: name two versions (`fer models list`)",
        ),
        (["rollback", "--to", "0"], "no version or alias '0' (there is: 1, 2, 3, challenger, champion)"),
        (["rollback", "--to", "champion"], "no other version champion to go back to: --to takes one of 2, 3"),
        (["promote", "--version", "9"], "no version or alias '9' (there is: 1, 2, 3"),
    ):
        assert words in str(CliRunner().invoke(fer, arguments).exception), arguments
    editing.write_values(registered / "params.yaml", {"promote.model_name": "other"})
    assert "no version of model other yet: `fer run`" in CliRunner().invoke(fer, ["models", "list"]).output
    for arguments, words in (
        (["models", "show"], "no version or alias 'champion' (there is: none yet: run `fer run`)"),
        (["rollback"], "no champion yet: run `fer run` first"),
        (["promote"], "no version or alias 'challenger' (there is: none yet: run `fer run`)"),
    ):
        assert words in str(CliRunner().invoke(fer, arguments).exception), arguments
