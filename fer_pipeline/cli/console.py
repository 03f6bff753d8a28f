"""The two consoles: results to stdout, progress and errors to stderr."""

from __future__ import annotations

from rich.console import Console

results = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)
