"""The `fer` command: parses, calls one library function, prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fer_pipeline import settings
from fer_pipeline.errors import FerError


def main() -> None:
    """Entry point: runs the command; a `FerError` becomes its message and exit code, never a stack trace."""
    settings.apply()
    from fer_pipeline.cli.app import app  # typer and rich are imported after the environment is set
    from fer_pipeline.cli.console import errors

    try:
        app()
    except FerError as error:
        errors.print(f"[bold red]error:[/] {_escape(str(error))}")
        error_file = os.environ.get("FER_ERROR_FILE")
        if error_file:  # a stage that a flow started: the flow shows the message, too
            Path(error_file).write_text(f"{error.exit_code}\n{error}", encoding="utf-8")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        errors.print("[bold red]stopped.[/] Finished stages are kept; the same command goes on from there.")
        sys.exit(130)


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)
