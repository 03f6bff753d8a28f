"""Commands that make other models of exported ones: teachers of a smaller network, an ensemble, a balanced variant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import errors, model_path, results
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.layout import ADJUSTED, ENSEMBLE, PARAMS, PROCESSED, RUN_LOCK, SOFT_LABELS, TEACHERS
from fer_pipeline.workspace.locks import exclusive

Models = Annotated[
    list[str],
    typer.Argument(help="Shipped names (`fast`), `champion`, `challenger`, versions (`fer/3`) or folders of exported models."),
]
Processed = Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")]


def soft_labels(
    models: Models,
    weight: Annotated[float, typer.Option(min=0, max=1, help="Share of the teachers' answer in the target of a label.")] = 0.7,
    temperature: Annotated[float, typer.Option(help="Above 1 the teachers' answers become softer, below 1 harder.")] = 1.0,
    views: Annotated[int, typer.Option(help="Views of a picture to answer for: 1 itself, 2 also mirrored, up to 10.")] = 10,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = SOFT_LABELS,
) -> None:
    """Let models teach: store their answers for all training rows, under DVC, and make the recipe in use learn from them.

    `fer run` then trains with them, also after `fer profile use` of a profile that softens its labels.

    Example: `fer soft-labels champion fer/3`, then `fer run --profile distill`
    """
    from fer_pipeline.config.editing import write_values
    from fer_pipeline.models.distillation import teach
    from fer_pipeline.workspace.dvc import track

    with exclusive(RUN_LOCK, "fer soft-labels"):
        taught = teach(_chosen(models), processed, out, temperature, views)
        version = track(Path.cwd(), out)
        write_values(PARAMS, {"train.soften": weight, "train.soften_with": taught.fingerprint})
    results.print(
        f"soft labels {taught.fingerprint} for {taught.rows:,} rows in {out}, version {version}; the teachers agree with "
        f"{100 * taught.agreement:.1f} % of the labels. params.yaml now trains with {weight:g} of them; commit it and {out}.dvc",
        markup=False,
    )


def teachers(
    models: Models,
    weight: Annotated[float, typer.Option(min=0, max=1, help="Share of the teachers' answer in the loss of the labels.")] = 0.7,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = TEACHERS,
) -> None:
    """Let models teach live: at each step they answer for the very pictures that the student sees.

    Stores their Keras networks under DVC, and makes the recipe in use learn from them, also after `fer profile use` of a
    profile with teachers. It teaches more than `fer soft-labels`, and costs their answers at each step: a GPU is in place.
    A model that learned from validation or test rows of this data is refused.

    Example: `fer teachers fer/3 fer/4`, then `fer run --profile gpu-record`
    """
    from fer_pipeline.config.editing import write_values
    from fer_pipeline.data.table.training_images import check_teachers
    from fer_pipeline.training.teachers import store_teachers
    from fer_pipeline.workspace.dvc import track

    with exclusive(RUN_LOCK, "fer teachers"):
        chosen = _chosen(models)
        check_teachers(chosen, processed)
        fingerprint = store_teachers(out, chosen)
        version = track(Path.cwd(), out)
        values = {"train.teachers_weight": weight, "train.teachers_with": fingerprint, "train.low_resolution_epochs": 0}
        write_values(PARAMS, values)
    results.print(
        f"{len(models)} teachers {fingerprint} in {out}, version {version}. params.yaml now trains with {weight:g} of them, all "
        f"epochs at full size; commit it and {out}.dvc",
        markup=False,
    )


def ensemble(
    models: Models,
    processed: Processed = PROCESSED,
    views: Annotated[int, typer.Option(help="Views of a picture that each looks at: 1 itself, 2 also mirrored, up to 10.")] = 1,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ENSEMBLE,
) -> None:
    """Merge models into one that answers with the mean of their calibrated probabilities, and measure it beside them.

    One model with several views is test-time augmentation: better answers, for as many times the work.

    Example: `fer ensemble champion fer/3`, then `fer score --model data/ensemble --input photos --output scores`

    Example: `fer ensemble fast --views 10 --out data/ten-views`, then `fer predict picture.jpg --model data/ten-views`
    """
    from rich.table import Table

    from fer_pipeline.config import params as params_file
    from fer_pipeline.models.ensemble import combine
    from fer_pipeline.workspace.dvc import lineage

    params = params_file.load(PARAMS)
    with exclusive(out, "fer ensemble"), errors.status("merging and measuring …"):
        made = combine(
            _chosen(models), processed, out, params.evaluate, lineage(Path.cwd(), params_file.recipe_fingerprint(params)), views
        )
    columns = {"accuracy": "accuracy", "accuracy_tta": "ten views", "macro_f1": "macro-F1", "ece": "ECE"}
    rows = {**made.members, str(out): made.info.metrics}
    columns = {name: title for name, title in columns.items() if any(name in figures for figures in rows.values())}
    table = Table("on the test split", *columns.values())
    for name, figures in rows.items():
        table.add_row(name, *(f"{figures[column]:.4f}" if column in figures else "" for column in columns))
    results.print(table)


def balance(
    model: Annotated[str, typer.Argument(help="Shipped name, alias, version or folder of an exported model.")],
    max_loss: Annotated[float, typer.Option(min=0, max=0.2, help="Accuracy on validation that may be given up.")] = 0.01,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = ADJUSTED,
) -> None:
    """Make the variant of a model that finds rare emotions best: offsets by class, chosen on validation for macro-F1.

    Example: `fer balance champion`, then `fer predict picture.jpg --model data/balanced`
    """
    from rich.table import Table

    from fer_pipeline.config import params as params_file
    from fer_pipeline.labels import EMOTIONS
    from fer_pipeline.models.logit_adjustment import balance as balance_model

    params = params_file.load(PARAMS)
    with exclusive(out, "fer balance"), errors.status("choosing and measuring …"):
        made = balance_model(model_path(model), processed, out, params.evaluate, max_loss)
    table = Table("on the test split", model, f"balanced, strength {made.strength:g}")
    for name in ("accuracy", "macro_f1", "accuracy_tta", "macro_f1_tta", "ece", *(f"recall_{emotion}" for emotion in EMOTIONS)):
        if name in made.before:
            table.add_row(name, f"{made.before[name]:.4f}", f"{made.info.metrics[name]:.4f}")
    results.print(table)


def _chosen(models: list[str]) -> dict[str, Path]:
    if len(set(models)) != len(models):
        raise ParamsError(f"a model was named twice in {' '.join(models)}: name each once")
    return {name: model_path(name) for name in models}
