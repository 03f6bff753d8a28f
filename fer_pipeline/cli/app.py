"""All commands under one roof."""

from __future__ import annotations

import typer

from fer_pipeline.cli import (
    baseline,
    data,
    drifting,
    explaining,
    feedback,
    filming,
    jobs,
    measuring,
    models,
    overview,
    predicting,
    profiles,
    promoting,
    scoring,
    searching,
    serving,
    shadowing,
    stages,
    teaching,
    ui,
    weights,
)

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
app.command(rich_help_panel=JOBS)(overview.status)
app.command(rich_help_panel=JOBS)(jobs.report)
app.command(rich_help_panel=JOBS)(measuring.evaluate_on)
app.command(rich_help_panel=JOBS)(baseline.baseline)
app.command(rich_help_panel=JOBS)(measuring.robustness)
app.command(rich_help_panel=JOBS)(explaining.explain)
app.command(rich_help_panel=JOBS)(explaining.explain_report)
app.command(rich_help_panel=JOBS)(measuring.card)
app.command(rich_help_panel=JOBS)(overview.compare)
app.command(rich_help_panel=JOBS)(searching.tune)
app.command(rich_help_panel=JOBS)(searching.label_noise)
app.command(rich_help_panel=JOBS)(teaching.soft_labels)
app.command(rich_help_panel=JOBS)(teaching.teachers)
app.command(rich_help_panel=JOBS)(teaching.ensemble)
app.command(rich_help_panel=JOBS)(teaching.balance)
app.command(rich_help_panel=JOBS)(drifting.drift)
app.command(rich_help_panel=JOBS)(promoting.promote)
app.command(rich_help_panel=JOBS)(promoting.rollback)
app.command(rich_help_panel=JOBS)(serving.package)
app.command(rich_help_panel=JOBS)(serving.serve)
app.command(rich_help_panel=JOBS)(predicting.predict)
app.command(rich_help_panel=JOBS)(filming.video)
app.command(rich_help_panel=JOBS)(scoring.score)
models.app.command()(weights.ship)
models.app.command()(weights.register)
models.app.command()(weights.fetch)
models.app.command()(weights.trained_on)
app.add_typer(data.app, name="data", rich_help_panel=JOBS)
app.add_typer(feedback.app, name="feedback", rich_help_panel=JOBS)
app.add_typer(models.app, name="models", rich_help_panel=JOBS)
app.add_typer(profiles.app, name="profile", rich_help_panel=JOBS)
app.add_typer(shadowing.app, name="shadow", rich_help_panel=JOBS)
app.add_typer(ui.app, name="ui", rich_help_panel=JOBS)
for stage in (stages.fetch, stages.preprocess, stages.validate, stages.train, stages.evaluate, stages.export):
    app.command(rich_help_panel=STAGES)(stage)
