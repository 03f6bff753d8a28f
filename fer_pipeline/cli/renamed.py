"""Commands under their earlier names: one line that names the new command."""

from __future__ import annotations

from collections.abc import Callable

import typer

from fer_pipeline.errors import ParamsError

RENAMED = {  # renamed in November 2026
    "soft-labels": "fer distill --offline",
    "teachers": "fer distill --online",
    "balance": "fer adjust-logits",
    "evaluate-on": "fer evaluate-dataset",
    "compare": "fer models compare",
    "drift": "fer monitor drift",
    "models diff": "fer models compare --params",
    "models ship": "python -m tools.publish_pretrained",
    "models trained-on": "python -m tools.list_training_images",
    "shadow place": "fer shadow start",
    "shadow remove": "fer shadow stop",
}
"""Earlier name without `fer`, to the command line that replaces it."""

_TAKES_ALL = {"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []}


def add_renamed(app: typer.Typer, group: str | None = None) -> None:
    """Add hidden commands to `app` that end with exit code 2 and name their successor.

    `group` is the name of the group that `app` holds; None: `app` is the root.
    """
    for old, new in RENAMED.items():
        place, _, name = old.rpartition(" ")
        if place == (group or ""):
            app.command(name, hidden=True, context_settings=dict(_TAKES_ALL))(_refusal(old, new))


def _refusal(old: str, new: str) -> Callable[[], None]:
    def refuse() -> None:
        raise ParamsError(f"`fer {old}` has a new name: use `{new}`")

    return refuse
