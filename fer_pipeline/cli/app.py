"""All commands under one roof."""

from __future__ import annotations

import typer

from fer_pipeline.cli import (
    derive,
    evaluate,
    explain,
    feedback,
    models,
    monitor,
    pipeline,
    predict,
    pretrained,
    serve,
    stages,
    status,
    tune,
    video,
)

app = typer.Typer(
    name="fer",
    help="From raw pictures to a served model. Start with `fer run`; `fer doctor` checks the machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

JOBS, STAGES = "Daily jobs", "Stages (what `dvc repro` runs; paths are in dvc.yaml)"

app.command(rich_help_panel=JOBS)(pipeline.run)
app.command(rich_help_panel=JOBS)(pipeline.doctor)
app.command(rich_help_panel=JOBS)(status.status)
app.command(rich_help_panel=JOBS)(pipeline.report)
app.command(rich_help_panel=JOBS)(evaluate.evaluate_on)
app.command(rich_help_panel=JOBS)(tune.baseline)
app.command(rich_help_panel=JOBS)(evaluate.robustness)
app.command(rich_help_panel=JOBS)(explain.explain)
app.command(rich_help_panel=JOBS)(explain.explain_report)
app.command(rich_help_panel=JOBS)(evaluate.card)
app.command(rich_help_panel=JOBS)(status.compare)
app.command(rich_help_panel=JOBS)(tune.tune)
app.command(rich_help_panel=JOBS)(tune.label_noise)
app.command(rich_help_panel=JOBS)(derive.soft_labels)
app.command(rich_help_panel=JOBS)(derive.teachers)
app.command(rich_help_panel=JOBS)(derive.ensemble)
app.command(rich_help_panel=JOBS)(derive.balance)
app.command(rich_help_panel=JOBS)(monitor.drift)
app.command(rich_help_panel=JOBS)(models.promote)
app.command(rich_help_panel=JOBS)(models.rollback)
app.command(rich_help_panel=JOBS)(serve.package)
app.command(rich_help_panel=JOBS)(serve.serve)
app.command(rich_help_panel=JOBS)(predict.predict)
app.command(rich_help_panel=JOBS)(video.video)
app.command(rich_help_panel=JOBS)(predict.score)
models.app.command()(pretrained.ship)
models.app.command()(pretrained.register)
models.app.command()(pretrained.fetch)
models.app.command()(pretrained.trained_on)
app.add_typer(pipeline.data_app, name="data", rich_help_panel=JOBS)
app.add_typer(feedback.app, name="feedback", rich_help_panel=JOBS)
app.add_typer(models.app, name="models", rich_help_panel=JOBS)
app.add_typer(pipeline.profile_app, name="profile", rich_help_panel=JOBS)
app.add_typer(monitor.app, name="shadow", rich_help_panel=JOBS)
app.add_typer(serve.ui_app, name="ui", rich_help_panel=JOBS)
for stage in (stages.fetch, stages.preprocess, stages.validate, stages.train, stages.evaluate, stages.export):
    app.command(rich_help_panel=STAGES)(stage)
