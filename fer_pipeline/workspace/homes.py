"""Folders below the user's home in which Prefect and BentoML keep their state."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final, Literal

from fer_pipeline.environment import NO_HOME
from fer_pipeline.errors import ToolUnavailableError

Tool = Literal["Prefect", "BentoML"]

_FOLDERS: Final[dict[Tool, tuple[str, str]]] = {"Prefect": ("PREFECT_HOME", ".prefect"), "BentoML": ("BENTOML_HOME", "bentoml")}


def user_home() -> Path | None:
    """Return the home of this user, None where there is none.

    That is where HOME is not set and the user has no entry in the list of users.
    """
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return None if home == Path(NO_HOME) else home


def tool_home(tool: Tool) -> Path | None:
    """Return the folder of a tool, None where there is no home.

    It is that of its variable, or else the one below the user's home.
    """
    variable, name = _FOLDERS[tool]
    home = user_home()
    if named := os.environ.get(variable):
        return Path(named).expanduser() if home else Path(named)
    return home / name if home else None


def check_homes(*tools: Tool) -> None:
    """Raise `ToolUnavailableError` where tools could not write their folders.

    It names all of them, a line each. The tools themselves fail in the middle of their work: Prefect after two minutes,
    and without a cause.
    """
    faults = [fault for tool in tools if (fault := _fault(tool))]
    if faults:
        raise ToolUnavailableError("\n".join(faults))


def _fault(tool: Tool) -> str | None:
    variable, folder = _FOLDERS[tool][0], tool_home(tool)
    advice = f'name a folder that this user may write: `export {variable}="$PWD/data/.{tool.lower()}"`'
    if folder is None:
        return f"{tool} has no folder: HOME is not set, and user {os.getuid()} has no home; {advice}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            list(folder.iterdir())
    except OSError as error:
        return f"{tool} cannot use its folder {folder} ({error.strerror}): {advice}"
    return None
