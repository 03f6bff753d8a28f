"""Describe the commands of `fer`, from typer."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from fer_pipeline import errors
from fer_pipeline.cli.app import app
from fer_pipeline.cli.commands import PANELS
from tools.reference.markdown import table

_HEAD = """# Commands

`. .venv/bin/activate` puts `fer` on the path. `fer` alone lists the commands; `fer COMMAND --help` says what stands here.
A command that fails says on stderr what it received, what it expected and what to do next, and ends with an exit code:
"""
_FOOT = "This page is made from the commands by `python -m tools.reference`."


def page() -> str:
    """Return docs/commands.md."""
    commands: Any = get_command(app)
    parts = [_HEAD, _exit_codes()]
    for panel, entries in PANELS.items():
        parts.append(f"## {panel}")
        for name in entries:
            parts += _described(commands.commands[name], f"fer {name}")
    return "\n\n".join(part.strip() for part in (*parts, _FOOT)) + "\n"


def _exit_codes() -> str:
    general = errors.FerError
    faults: list[type[errors.FerError]] = [general, *general.__subclasses__()]
    rows = {fault.exit_code: inspect.getdoc(fault) or "" for fault in reversed(faults)}  # the general one last, over its like
    return table(("exit code", "why"), [(str(code), rows[code].partition("\n")[0]) for code in sorted(rows)])


def _described(command: Any, name: str) -> Iterator[str]:
    yield f"### {name}"
    if hasattr(command, "commands"):
        yield command.help
        for inner, child in command.commands.items():
            if not child.hidden:
                yield from _described(child, f"{name} {inner}")
        return
    shown = [parameter for parameter in command.params if not parameter.hidden and parameter.name != "help"]
    yield f"`{' '.join((name, *map(_usage, shown)))}`"
    yield command.help
    if shown:
        yield table(("argument or option", "default", "meaning"), map(_row, shown))


def _usage(parameter: Any) -> str:
    names = _names(parameter)
    return names if parameter.required or names.startswith("[") else f"[{names}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        several = "..." if parameter.nargs == -1 and not parameter.metavar else ""
        return f"{parameter.metavar or parameter.name.upper()}{several}"
    if parameter.is_flag:
        return "/".join((*parameter.opts, *parameter.secondary_opts))
    return f"{'/'.join(parameter.opts)} {parameter.metavar or parameter.name.upper()}"


def _row(parameter: Any) -> tuple[str, str, str]:
    return f"`{_names(parameter)}`", _default(parameter), parameter.help or ""


def _default(parameter: Any) -> str:
    if parameter.required:
        return "needed"
    if isinstance(parameter.default, bool):
        return "yes" if parameter.default else "no"
    return "" if parameter.default is None else f"`{parameter.default}`"
