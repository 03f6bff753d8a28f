"""All commands under one roof."""

from __future__ import annotations

import typer

from fer_pipeline.cli import data, jobs, models, stages, ui

app = typer.Typer(
    name="fer",
    help="From raw pictures to a served model. Start with `fer run`; `fer doctor` checks the machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

JOBS, STAGES = "Daily jobs", "Stages (what `dvc repro` runs; paths are in dvc.yaml)"

app.command(rich_help_panel=JOBS)(jobs.run)
app.command(rich_help_panel=JOBS)(jobs.doctor)
app.command(rich_help_panel=JOBS)(jobs.report)
app.command(rich_help_panel=JOBS)(models.promote)
app.command(rich_help_panel=JOBS)(models.package)
app.command(rich_help_panel=JOBS)(models.serve)
app.add_typer(data.app, name="data", rich_help_panel=JOBS)
app.add_typer(models.profile_app, name="profile", rich_help_panel=JOBS)
app.add_typer(ui.app, name="ui", rich_help_panel=JOBS)
for stage in (stages.fetch, stages.preprocess, stages.validate, stages.train, stages.evaluate, stages.export):
    app.command(rich_help_panel=STAGES)(stage)
