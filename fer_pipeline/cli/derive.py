"""`fer distill`, `ensemble` and `adjust-logits`: derive models from exported ones."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import errors, model_path, print_table, results
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.layout import ADJUSTED, ENSEMBLE, PARAMS, PROCESSED, RUN_LOCK, SOFT_LABELS, TEACHERS
from fer_pipeline.workspace.locks import exclusive

Models = Annotated[
    list[str],
    typer.Argument(help="Pretrained models (`fast`), `champion`, `challenger`, versions (`fer/3`) folders of exported models."),
]
Processed = Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")]


def distill(
    models: Models,
    online: Annotated[
        bool,
        typer.Option(
            "--online/--offline",
            help="online: the teachers answer at each training step; offline: their answers are computed once and stored.",
            show_default=False,
        ),
    ],
    weight: Annotated[
        float, typer.Option(min=0, max=1, help="Weight of the teachers' answers; that of the labels is 1 minus it.")
    ] = 0.7,
    temperature: Annotated[
        float | None, typer.Option(help="offline: softmax temperature of the teachers' answers; left out: 1.")
    ] = None,
    tta_views: Annotated[
        int | None,
        typer.Option(help="offline: views of a picture to average: 1 itself, 2 also mirrored, up to 10; left out: 10."),
    ] = None,
    processed: Processed = PROCESSED,
    out: Annotated[
        Path | None, typer.Option(help=f"Folder to write; left out: {SOFT_LABELS} (offline) or {TEACHERS} (online).")
    ] = None,
) -> None:
    """Store the knowledge of teachers under DVC, and train with it from now on.

    With --offline the calibrated answers of the teachers for all training rows are stored as soft labels: cheap enough for a CPU.
    With --online their Keras networks are stored, and answer at each training step for the augmented pictures that the student
    sees: this takes their time at each step, so it is meant for a GPU. docs/results.md has what each reached. A teacher that
    learned from validation or test rows of this data is refused.

    The next `fer run` trains with them, also after `fer profile use` of a profile that learns from teachers.

    Example: `fer distill --offline champion fer/3`, then `fer run --profile distill`

    Example: `fer distill --online fer/3 fer/4`, then `fer run --profile gpu-record`
    """
    if online and (temperature is not None or tta_views is not None):
        raise ParamsError("--temperature and --tta-views belong to --offline: leave them out with --online")
    if online:
        _distill_online(models, weight, processed, out or TEACHERS)
    else:
        _distill_offline(models, weight, temperature, tta_views, processed, out or SOFT_LABELS)


def _distill_offline(
    models: list[str], weight: float, temperature: float | None, tta_views: int | None, processed: Path, out: Path
) -> None:
    from fer_pipeline.experiments.tracked_stages import use_soft_labels
    from fer_pipeline.models.distillation import distill_offline

    with exclusive(RUN_LOCK, "fer distill --offline"):
        taught = distill_offline(
            _chosen(models),
            processed,
            out,
            1.0 if temperature is None else temperature,
            10 if tta_views is None else tta_views,
        )
        version = use_soft_labels(Path.cwd(), out, weight, taught.fingerprint)
    results.print(
        f"soft labels {taught.fingerprint} for {taught.rows:,} rows in {out}, version {version}; the teachers agree with "
        f"{100 * taught.agreement:.1f} % of the labels. params.yaml now trains with {weight:g} of them; commit it and {out}.dvc",
    )


def _distill_online(models: list[str], weight: float, processed: Path, out: Path) -> None:
    from fer_pipeline.data.table.reader import ProcessedTable
    from fer_pipeline.data.table.training_images import check_unseen
    from fer_pipeline.experiments.tracked_stages import use_teachers
    from fer_pipeline.training.teachers import store_teachers

    with exclusive(RUN_LOCK, "fer distill --online"):
        chosen = _chosen(models)
        check_unseen({f"teacher {name}": folder for name, folder in chosen.items()}, ProcessedTable.open(processed))
        fingerprint = store_teachers(out, chosen)
        version = use_teachers(Path.cwd(), out, weight, fingerprint)
    results.print(
        f"{len(models)} teachers {fingerprint} in {out}, version {version}. params.yaml now trains with {weight:g} of them, all "
        f"epochs at full size; commit it and {out}.dvc",
    )


def ensemble(
    models: Models,
    processed: Processed = PROCESSED,
    tta_views: Annotated[
        int, typer.Option(help="Views of a picture that each looks at: 1 itself, 2 also mirrored, up to 10.")
    ] = 1,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ENSEMBLE,
) -> None:
    """Merge models into one ONNX file, and measure it beside them.

    It answers with the mean of their calibrated probabilities.

    One model with several views is test-time augmentation: better answers, for as many times the work.

    Example: `fer ensemble champion fer/3`, then `fer score --model data/ensemble --input photos --output scores`

    Example: `fer ensemble fast --tta-views 10 --out data/ten-views`, then `fer predict picture.jpg --model data/ten-views`
    """
    from rich.table import Table

    from fer_pipeline.config.params import load_params, recipe_fingerprint
    from fer_pipeline.models.ensemble import build_ensemble
    from fer_pipeline.workspace.dvc import lineage

    params = load_params(PARAMS)
    with exclusive(out, "fer ensemble"), errors.status("merging and measuring …"):
        made = build_ensemble(
            _chosen(models),
            processed,
            out,
            params.evaluate,
            lineage(Path.cwd(), recipe_fingerprint(params)),
            tta_views,
        )
    columns = {"accuracy": "accuracy", "accuracy_tta": "ten views", "macro_f1": "macro-F1", "ece": "ECE"}
    rows = {**made.members, str(out): made.info.metrics}
    columns = {name: title for name, title in columns.items() if any(name in figures for figures in rows.values())}
    table = Table("on the test split", *columns.values())
    for name, figures in rows.items():
        table.add_row(name, *(f"{figures[column]:.4f}" if column in figures else "" for column in columns))
    print_table(table)


def adjust_logits(
    model: Annotated[str, typer.Argument(help="Pretrained model, alias, version or folder of an exported model.")],
    max_loss: Annotated[float, typer.Option(min=0, max=0.2, help="Accuracy on validation that may be given up.")] = 0.01,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ADJUSTED,
) -> None:
    """Shift a model's logits by class, to find rare emotions more often.

    The offsets are chosen on validation for macro-F1.

    Example: `fer adjust-logits champion`, then `fer predict picture.jpg --model data/balanced`
    """
    from rich.table import Table

    from fer_pipeline.config.params import load_params
    from fer_pipeline.labels import EMOTIONS
    from fer_pipeline.models.logit_adjustment import adjust_logits as adjust_model

    params = load_params(PARAMS)
    with exclusive(out, "fer adjust-logits"), errors.status("choosing and measuring …"):
        made = adjust_model(model_path(model), processed, out, params.evaluate, max_loss)
    table = Table("on the test split", model, f"balanced, strength {made.strength:g}")
    for name in ("accuracy", "macro_f1", "accuracy_tta", "macro_f1_tta", "ece", *(f"recall_{emotion}" for emotion in EMOTIONS)):
        if name in made.before:
            table.add_row(name, f"{made.before[name]:.4f}", f"{made.info.metrics[name]:.4f}")
    print_table(table)


def _chosen(models: list[str]) -> dict[str, Path]:
    if len(set(models)) != len(models):
        raise ParamsError(f"a model was named twice in {' '.join(models)}: name each once")
    return {name: model_path(name) for name in models}
