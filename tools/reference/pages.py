"""List the reference pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from tools.reference import commands, http, outputs, parameters

PAGES: Final[dict[str, Callable[[], str]]] = {
    "commands": commands.page,
    "parameters": parameters.page,
    "http": http.page,
    "outputs": outputs.page,
}


def path_of(name: str) -> Path:
    """Return the file of a page in docs/."""
    return Path(__file__).resolve().parents[2] / "docs" / f"{name}.md"
