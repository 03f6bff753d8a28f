"""The root of `fer`: its help and version; commands are imported when called."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from fer_pipeline.cli.commands import ENTRIES, PANELS, load
from fer_pipeline.cli.renamed import add_renamed


class _Commands(Mapping[str, Any]):
    """Commands by name, each imported at its first look-up."""

    def __init__(self, earlier: Mapping[str, Any]) -> None:
        self._earlier = earlier  # hidden ones, which name their successors

    def __getitem__(self, name: str) -> Any:
        return load(name) if name in ENTRIES else self._earlier[name]

    def __iter__(self) -> Iterator[str]:
        yield from ENTRIES
        yield from self._earlier

    def __len__(self) -> int:
        return len(ENTRIES) + len(self._earlier)


class _Root(TyperGroup):
    """Group whose help lists `PANELS` without importing a command."""

    def __init__(self, *, commands: Mapping[str, Any], **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(MutableMapping[str, Any], _Commands(commands))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args:  # before options are parsed, which loads pydantic
            typer.echo(self.get_help(ctx))
            ctx.exit()
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        # As plain text: to draw it with rich takes three times as long.
        self.format_usage(ctx, formatter)
        formatter.write(f"\n{self.help}\n")
        width = max(len(name) for name in ENTRIES) + 2
        room = max(shutil.get_terminal_size().columns - width - 2, 40)
        for panel, entries in PANELS.items():
            formatter.write(f"\n{typer.style(panel, bold=True)}\n")
            for name, entry in entries.items():
                first, *others = textwrap.wrap(entry.summary, room)
                formatter.write(f"  {name:{width}}{first}\n")
                formatter.write("".join(f"  {'':{width}}{line}\n" for line in others))
        formatter.write("\n`fer COMMAND --help` tells more of a command, `fer --version` the version.\n")


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"fer-pipeline {version('fer-pipeline')}")
        raise typer.Exit


app = typer.Typer(
    name="fer",
    cls=_Root,
    help="Facial emotion recognition, from raw pictures to a served model.\n"
    "A picture: `fer predict PICTURE`. The pipeline: `fer run`. The machine: `fer doctor`.",
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # `run_command` tells them
)
add_renamed(app)


@app.callback()
def _root(
    show_version: Annotated[bool, typer.Option("--version", help="Print the version.", callback=_print_version)] = False,
) -> None:
    """Take the options of `fer` itself."""
