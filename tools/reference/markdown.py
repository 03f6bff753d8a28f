"""Write tables of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table.

    Its cells are Markdown without HTML, whose line ends become spaces.
    """
    lines = [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "|" + "".join(f" {_cell(cell)} |" for cell in cells)


def _cell(text: str) -> str:
    parts = " ".join(text.split()).replace("|", r"\|").split("`")
    parts[::2] = [words.replace("<", "&lt;") for words in parts[::2]]  # in code it stays as it is
    return "`".join(parts)
