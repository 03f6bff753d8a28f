"""Commands that messages, pages and comments name: each exists, with the options that are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from fer_pipeline.cli.app import app
from fer_pipeline.cli.renamed import RENAMED

ROOT = Path(__file__).parents[2]
FOLDERS = ("fer_pipeline", "flows", "tools", "benchmarks", "deploy", "docs", ".ci")
SUFFIXES = {".py", ".html", ".js", ".yaml", ".md", ".sh", ".env", ".conf", ""}
FILES = ("README.md", "params.yaml", "profiles.yaml", "dvc.yaml", "prefect.yaml", "bentofile.yaml", "compose.yaml", "Makefile")
COMMANDS = get_command(app)
EARLIER = ROOT / "fer_pipeline" / "cli" / "renamed.py"

_QUOTED = re.compile(r"`(?:[A-Z_]+=\S+ )*fer ([a-z][^`]*)`")
_RUN = re.compile(r"^fer ([a-z][^`\n]*)", re.MULTILINE)
_STAGE = re.compile(r"cmd: fer ([^\n]+)")


def read(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace")


def texts() -> list[Path]:
    found = [ROOT / name for name in FILES]
    for folder in FOLDERS:
        found += [file for file in (ROOT / folder).rglob("*") if file.is_file() and file.suffix in SUFFIXES]
    left_out = ("weights", "attempts", "results", "lifecycle/transcript", "vendor")
    return sorted(file for file in found if not any(part in file.as_posix() for part in left_out) and file != EARLIER)


def commands_in(text: str) -> Iterator[str]:
    """Command lines without `fer`; a string that goes on in the next line of code is joined first."""
    joined = re.sub(r'"\n\s*f?"', "", text)
    joined = re.sub(r"\n\s*(?:#: |# )?", " ", joined) if "`" in joined else joined
    yield from _QUOTED.findall(joined)
    yield from _RUN.findall(text)
    yield from _STAGE.findall(text)


def unknown(line: str) -> str | None:
    """What is wrong with a command line: no such command, or no such option of it."""
    command: Any = COMMANDS
    words = line.split("#")[0].split()
    while words and hasattr(command, "commands"):
        name = words[0].rstrip(".,;:)")
        if name not in command.commands:
            return f"no command {name!r}"
        command = command.commands[name]
        words = words[1:]
    if command.hidden:
        return "an earlier name"
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    known.add("--help")
    options = {match[0] for word in words if (match := re.match(r"--[a-z][a-z-]*", word))}
    return f"no options {options - known}" if options - known else None


NAMED = {file: found for file in texts() if (found := set(commands_in(read(file))))}


@pytest.mark.parametrize("file", NAMED, ids=lambda file: str(file.relative_to(ROOT)))
def test_each_command_that_a_file_names_exists(file: Path) -> None:
    found = {line: unknown(line) for line in NAMED[file]}
    assert not {line: fault for line, fault in found.items() if fault}


def test_no_text_for_people_runs_a_command_through_uv() -> None:
    """After `make install` commands work as printed on a machine without uv: `. .venv/bin/activate`, then `fer ...`."""
    inside = ("Makefile", "Dockerfile", "compose.yaml")
    for_people = [file for file in texts() if file.name not in inside]
    assert [str(file.relative_to(ROOT)) for file in for_people if re.search(r"\buv (run|sync)\b", read(file))] == []


def test_commands_are_named_all_over_the_project() -> None:
    """The search finds what it should: hundreds of commands in code, pages and configuration."""
    assert sum(len(lines) for lines in NAMED.values()) > 300
    assert {"README.md", "dvc.yaml", "params.yaml"} <= {str(file.relative_to(ROOT)) for file in NAMED}


def test_commands_are_found_over_lines_of_code() -> None:
    code = 'raise ParamsError(\n    "run `fer label-noise "\n    f"--epochs {n}` or `fer nothing` first"\n)'
    found = list(commands_in(code))
    assert found == ["label-noise --epochs {n}", "nothing"]
    assert [unknown(line) for line in found] == [None, "no command 'nothing'"]
    assert unknown("label-noise --soften 0.5") == "no options {'--soften'}"
    assert unknown("drift --window 24") == "an earlier name"


def test_no_file_names_a_command_by_its_earlier_name() -> None:
    old = re.compile(rf"\bfer (?:{'|'.join(sorted(RENAMED, key=len, reverse=True))})\b")
    found = {str(file.relative_to(ROOT)): old.findall(read(file)) for file in texts()}
    assert not {file: names for file, names in found.items() if names}
