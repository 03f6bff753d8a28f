"""Progress bar of long loops on stderr."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_Item = TypeVar("_Item")


def progress_bar(items: Sequence[_Item], description: str) -> Iterator[_Item]:
    """Yield the items one by one; a terminal shows how many are done."""
    console = Console(stderr=True, markup=False, emoji=False)
    yield from track(items, description, console=console, transient=True, disable=not console.is_terminal)
