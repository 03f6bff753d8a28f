"""Show the steps of a run, and log what they print."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.console import Console

from fer_pipeline.workspace.stage_log import captured_output, forwarded_output, log_file

_console: Console | None = None
_LEVELS: Final = {"warning": logging.WARNING, "error": logging.ERROR}  # by the first word of a line, with its colon


@dataclass
class Step:
    """One step; `outcome` is shown when it has ended."""

    outcome: str = "done"


def show(console: Console | None) -> None:
    """Show the steps of runs in this process; None: no longer."""
    global _console
    _console = console


@contextmanager
def step(root: Path, name: str) -> Iterator[Step]:
    """Show the step that the block is.

    On a terminal what the block prints appears between its first and its last line. Elsewhere that goes to a log, and the line
    of the step has its last words. Without `show` nothing changes.
    """
    now, started = Step(), time.monotonic()
    console = _console
    if console is None:
        yield now
        return
    lines: list[str] = []
    try:
        if console.is_terminal:
            console.print(f"{name} ...", style="bold")
            yield now
        else:
            with captured_output(log_file(root, name)) as lines:
                yield now
    except BaseException:
        now.outcome = f"failed; its output: {log_file(root, name)}" if not console.is_terminal else "failed"
        lines.clear()
        raise
    finally:
        said = next((line.strip() for line in reversed(lines) if line.strip()), "")
        detail = f"  {said}" if said and now.outcome == "done" else ""
        console.print(f"{name:12}{now.outcome}, {time.monotonic() - started:.0f} s{detail}")


@contextmanager
def logged_output(logger: logging.Logger | logging.LoggerAdapter[logging.Logger]) -> Iterator[None]:
    """Log each line that the block prints, but on a terminal, which shows it.

    Where `show` was called it goes on to where it went before, too: Prefect's own lines are not there.
    """

    def log(line: str) -> None:
        logger.log(_LEVELS.get(line.partition(":")[0], logging.INFO), line)

    if os.isatty(1):
        yield
    else:
        with forwarded_output(log, echo=_console is not None):
            yield
