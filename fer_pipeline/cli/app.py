"""The command tree of `fer`: names, groups and help panels."""

from __future__ import annotations

import typer

from fer_pipeline.cli import (
    data,
    derive,
    doctor,
    evaluate,
    explain,
    feedback,
    models,
    monitor,
    pipeline,
    predict,
    profile,
    promote,
    serve,
    shadow,
    stages,
    status,
    tune,
    ui,
    video,
)
from fer_pipeline.cli.renamed import add_renamed

app = typer.Typer(
    name="fer",
    help="From raw pictures to a served model. Start with `fer run`; `fer doctor` checks the machine.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)

JOBS, STAGES = "Daily jobs", "Stages (what `dvc repro` runs; paths are in dvc.yaml)"

for job in (
    pipeline.run,
    doctor.doctor,
    status.status,
    pipeline.report,
    evaluate.evaluate_dataset,
    tune.baseline,
    evaluate.robustness,
    explain.explain,
    explain.explain_report,
    evaluate.card,
    tune.tune,
    tune.label_noise,
    derive.distill,
    derive.ensemble,
    derive.adjust_logits,
    promote.promote,
    promote.rollback,
    promote.package,
    serve.serve,
    predict.predict,
    video.video,
    predict.score,
):
    app.command(rich_help_panel=JOBS)(job)

GROUPS = {
    "data": data.app,
    "feedback": feedback.app,
    "models": models.app,
    "monitor": monitor.app,
    "profile": profile.app,
    "shadow": shadow.app,
    "ui": ui.app,
}
for name, group in GROUPS.items():
    add_renamed(group, name)
    app.add_typer(group, name=name, rich_help_panel=JOBS)

for stage in (stages.fetch, stages.preprocess, stages.validate, stages.train, stages.evaluate, stages.export):
    app.command(rich_help_panel=STAGES)(stage)

add_renamed(app)
