"""What the play says: to the terminal as it happens, and kept for the file."""

from __future__ import annotations

import time
from pathlib import Path

from rich.console import Console

from fer_pipeline.workspace.files import write_text


class ClaimError(Exception):
    """Something that the project promises did not hold."""


class Transcript:
    """Lines with the minutes since the beginning."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._start = time.monotonic()
        self._lines: list[str] = []
        self.claims = 0

    def act(self, title: str) -> None:
        """Begins an act."""
        self._add("")
        self._add(f"{self._clock()}  == {title}")

    def say(self, text: str) -> None:
        """Says what is done or was measured; several lines are set in."""
        first, *rest = text.splitlines() or [""]
        self._add(f"{self._clock()}  {first}")
        for line in rest:
            self._add(f"         {line}")

    def claim(self, text: str, holds: bool, found: str) -> None:
        """Print whether a claim holds, and what was found.

        Raises `ClaimError` where it does not hold.
        """
        self._add(f"{self._clock()}  {'holds' if holds else 'FAILS'}: {text}: {found}")
        if not holds:
            raise ClaimError(f"{text}: {found}")
        self.claims += 1

    def write(self, file: Path) -> None:
        """Writes all of it as plain text."""
        write_text(file, "\n".join(self._lines).strip() + "\n")

    def _clock(self) -> str:
        minutes, seconds = divmod(int(time.monotonic() - self._start), 60)
        return f"[{minutes:2d}:{seconds:02d}]"

    def _add(self, line: str) -> None:
        self._lines.append(line)
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)
