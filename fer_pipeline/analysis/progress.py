"""A progress bar on stderr for loops that take more than a moment; without a terminal there is none."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

_Item = TypeVar("_Item")


def counted(items: Sequence[_Item], what: str) -> Iterator[_Item]:
    """The items one by one, with a bar that counts them."""
    console = Console(stderr=True)
    yield from track(items, what, console=console, transient=True, disable=not console.is_terminal)
