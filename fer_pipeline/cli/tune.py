"""`fer tune`, `label-noise` and `baseline`: search, label check, simple baseline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import errors, results
from fer_pipeline.cli.stages import Params, Processed
from fer_pipeline.config.params import load_params
from fer_pipeline.workspace.layout import BASELINE, NOISE, PARAMS, PROCESSED, REPORTS, RUN_LOCK, SOFT_LABELS, TUNING
from fer_pipeline.workspace.locks import exclusive


def tune(
    trials: Annotated[
        int | None,
        typer.Option(min=1, help="Trials in all, those of earlier runs of this search included; left out: tune.trials."),
    ] = None,
    processed: Processed = PROCESSED,
    folder: Annotated[Path, typer.Option(help="Folder of the study, where a stopped search goes on.")] = TUNING,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = REPORTS / "tuning",
) -> None:
    """Search for a better recipe with Optuna.

    The section `tune` of params.yaml says what is varied; the best trial is chosen on validation.

    Example: `fer tune --trials 30`, then `fer profile save tuned --from-tuning`
    """
    from fer_pipeline.experiments.search.tune import tune as search

    with exclusive(folder, "fer tune"):
        result = search(
            processed,
            folder,
            out,
            load_params(PARAMS),
            SOFT_LABELS,
            trials=trials,
            on_progress=lambda line: errors.print(line),
        )
    best = ", ".join(f"{key} {value}" for key, value in result.values.items())
    results.print(
        f"trial {result.trial} is the best of {result.trials}: validation {result.metric} {result.value:.4f} after "
        f"{result.epochs} epochs ({best}); page: {out / 'report.html'}; keep it with `fer profile save NAME --from-tuning`",
    )


def label_noise(
    folds: Annotated[int, typer.Option(min=2, max=50, help="Trainings, each without one fold of the training rows.")] = 5,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs of each; left out: those of the recipe in use.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the folds.")] = 0,
    soft_label_weight: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Make the predictions soft labels, of this share in the target of a label (train.soft_label_weight).",
        ),
    ] = None,
    processed: Processed = PROCESSED,
    folder: Annotated[Path, typer.Option(help="Folder of the predictions, where a stopped analysis goes on.")] = NOISE,
    out: Annotated[Path, typer.Option(help="Folder of the page.")] = REPORTS / "noise",
) -> None:
    """Find suspicious training labels by out-of-fold predictions.

    A label is suspicious where models that never saw it contradict it. The share of wrong labels is estimated, too.

    Example: `fer label-noise --folds 5 --epochs 20`
    """
    from fer_pipeline.analysis.label_noise.out_of_fold import predict_out_of_fold
    from fer_pipeline.analysis.label_noise.report import write_noise
    from fer_pipeline.data.table.reader import ProcessedTable
    from fer_pipeline.data.table.soft_labels import write_soft_labels
    from fer_pipeline.experiments.tracked_stages import use_soft_labels

    recipe = load_params(PARAMS).train
    with exclusive(folder, "fer label-noise"):
        predicted = predict_out_of_fold(
            processed,
            folder,
            recipe.shortened(epochs) if epochs else recipe,
            folds=folds,
            seed=seed,
            on_progress=lambda line: errors.print(line),
        )
        faces = ProcessedTable.open(processed).split("train")
        noise, check = write_noise(out, faces, predicted)
    if soft_label_weight is not None:
        with exclusive(RUN_LOCK, "fer label-noise"):
            fingerprint = write_soft_labels(SOFT_LABELS, faces, predicted.probabilities, predicted.metadata)
            version = use_soft_labels(Path.cwd(), SOFT_LABELS, soft_label_weight, fingerprint)
        results.print(
            f"params.yaml now trains with {soft_label_weight:g} of these probabilities in the target of each label; they lie in "
            f"{SOFT_LABELS}, version {version}: commit params.yaml and {SOFT_LABELS}.dvc"
        )
    if check is not None:
        results.print(
            f"FER+ votes confirm {100 * check.suspicious.given:.0f} % of the suspicious labels, "
            f"{100 * check.others.given:.0f} % of the others"
        )
    results.print(
        f"{int(noise.suspicious.sum()):,} suspicious labels, {100 * noise.share:.1f} % wrong as estimated, accuracy out of fold "
        f"{predicted.metadata['accuracy']:.4f}; page: {out / 'report.html'}"
    )


def baseline(
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = BASELINE,
    params: Params = PARAMS,
) -> None:
    """Train, measure and register HOG features with logistic regression.

    Spark MLlib trains it, in a few minutes on FER-2013. Its version has the alias baseline and is no challenger: only
    `fer promote --version` judges it.

    Example: `fer baseline`, then `fer models compare baseline champion`
    """
    from fer_pipeline.experiments.baseline import baseline_and_track

    with exclusive(out, "fer baseline"):
        info, version = baseline_and_track(processed, out, load_params(params))
    found = info.metrics
    results.print(
        f"accuracy {found['accuracy']:.4f} ({found['accuracy_low']:.4f} to {found['accuracy_high']:.4f}), "
        f"macro-F1 {found['macro_f1']:.4f} on {found['rows']:,.0f} test pictures; {version}, alias baseline; model: {out}"
    )
