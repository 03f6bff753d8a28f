"""`fer fetch`, `preprocess`, `validate`, `train`, `evaluate`, `export`: stages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import labelled, results
from fer_pipeline.config.params import load_params, recipe_fingerprint
from fer_pipeline.workspace.files import write_text
from fer_pipeline.workspace.layout import PARAMS, SOFT_LABELS, TEACHERS
from fer_pipeline.workspace.locks import exclusive

Params = Annotated[Path, typer.Option(help="The parameter file.")]
Out = Annotated[Path, typer.Option(help="Folder to write; it is replaced as a whole when the stage ends well.")]
Processed = Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")]
Model = Annotated[Path, typer.Option(help="Folder written by `fer train`.")]


def fetch(
    source: Annotated[Path, typer.Option(help="CSV, archive, image folder, or data/synthetic.yaml.")],
    out: Out,
    feedback: Annotated[
        Path | None, typer.Option(help="Folder of accepted corrections; read where fetch.feedback names a version of them.")
    ] = None,
    params: Params = PARAMS,
) -> None:
    """Read a source as it is into a table of raw rows.

    Example: `fer fetch --source fer2013.csv --out data/raw`
    """
    from fer_pipeline.data.fetch.fetch import fetch as fetch_source

    with exclusive(out, "fer fetch"):
        metadata = fetch_source(source, out, load_params(params).fetch, feedback)
    results.print(f"{metadata.rows:,} rows from {metadata.name} ({metadata.kind}); labels: {metadata.labels}")
    for note in metadata.notes:
        results.print(labelled("note:", "yellow", note))


def preprocess(
    raw: Annotated[Path, typer.Option(help="Folder written by `fer fetch`.")],
    out: Out,
    quarantine: Annotated[Path, typer.Option(help="Folder for the rows that are left out, with the reason.")],
    params: Params = PARAMS,
) -> None:
    """Parse, check, gray, resize, hash and split the rows in Spark.

    Example: `fer preprocess --raw data/raw --out data/processed --quarantine data/quarantine`
    """
    from fer_pipeline.data.preprocess.preprocess import preprocess as preprocess_table

    with exclusive(out, "fer preprocess"):
        metadata = preprocess_table(raw, out, quarantine, load_params(params).preprocess)
    results.print(metadata.summary())


def validate(
    processed: Processed,
    quarantine: Annotated[Path, typer.Option(help="Folder of the rows left out by `fer preprocess`.")],
    out: Out,
    stamp: Annotated[Path | None, typer.Option(help="File to write when no check of severity error failed.")] = None,
    data_docs: Annotated[Path | None, typer.Option(help="Folder for Great Expectations' own pages of the results.")] = None,
    params: Params = PARAMS,
) -> None:
    """Check the processed table with Great Expectations and write the data page.

    Tables of more than a million rows are summarised in Spark, on `preprocess.spark_master`.

    Example: `fer validate --processed data/processed --quarantine data/quarantine --out data/reports/data`
    """
    from fer_pipeline.data.validate import suite

    with exclusive(out, "fer validate"):
        found = load_params(params)
        result = suite.validate(processed, quarantine, out, found.validate_, found.preprocess.spark_master, data_docs)
    if stamp is not None:
        write_text(stamp, "passed\n")
    for warning in result.warnings:
        results.print(labelled("warning:", "yellow", warning))
    results.print(f"{result.passed} checks passed, {len(result.warnings)} warnings; page: {out / 'index.html'}")


def train(
    processed: Processed,
    out: Out,
    checkpoints: Annotated[Path, typer.Option(help="Where each epoch is kept, so that a killed training goes on.")],
    soft_labels: Annotated[
        Path,
        typer.Option(
            help="Written by `fer distill --offline` or `fer label-noise`; read where train.soft_label_weight is above 0."
        ),
    ] = SOFT_LABELS,
    teachers: Annotated[
        Path, typer.Option(help="Written by `fer distill --online`; read where train.distillation_weight is above 0.")
    ] = TEACHERS,
    untracked: Annotated[
        bool, typer.Option("--untracked", help="Without MLflow and DVC, which need not be installed: on a borrowed GPU, say.")
    ] = False,
    params: Params = PARAMS,
) -> None:
    """Train the network of the recipe in params.yaml.

    A model that was trained untracked elsewhere joins the pipeline when its folder is copied to data/model and
    `dvc commit --force train` has noted it.

    Example: `KERAS_BACKEND=jax fer train --processed data/processed --out data/model --checkpoints data/checkpoints`
    """
    if untracked:
        from fer_pipeline.training.train import train_untracked

        with exclusive(out, "fer train"):
            result = train_untracked(processed, out, checkpoints, load_params(params).train, soft_labels, teachers)
        results.print(result.summary)
        return
    from fer_pipeline.experiments.tracked_stages import train_and_track

    with exclusive(out, "fer train"):
        summary = train_and_track(processed, out, checkpoints, load_params(params), soft_labels, teachers)
    results.print(summary)


def evaluate(
    processed: Processed,
    model: Annotated[str, typer.Option(help="Folder written by `fer train`, or the name of a pretrained model: `fast`.")],
    out: Out,
    params: Params = PARAMS,
) -> None:
    """Calibrate on validation, measure on test, write the report.

    A pretrained model is measured as it is served, on onnxruntime and with its own temperature; another one joins its figures to
    the MLflow run of its training.

    Example: `fer evaluate --processed data/processed --model data/model --out data/reports/evaluation`
    """
    from fer_pipeline.experiments.tracked_stages import evaluate_and_track, evaluate_pretrained
    from fer_pipeline.inference.pretrained import pretrained_models

    with exclusive(out, "fer evaluate"):
        if model in pretrained_models():
            metrics = evaluate_pretrained(processed, model, out, load_params(params))
        else:
            metrics = evaluate_and_track(processed, Path(model), out, load_params(params))
    views = f", mean of ten views {metrics['accuracy_tta']:.4f}" if "accuracy_tta" in metrics else ""
    votes = f", agreement with FER+ votes {metrics['vote_agreement']:.4f}" if "vote_agreement" in metrics else ""
    results.print(
        f"accuracy {metrics['accuracy']:.4f}{views}, macro-F1 {metrics['macro_f1']:.4f}{votes}; report: {out / 'report.html'}"
    )


def export(
    processed: Processed,
    model: Model,
    evaluation: Annotated[Path, typer.Option(help="Folder written by `fer evaluate`.")],
    out: Out,
    params: Params = PARAMS,
) -> None:
    """Write the model as ONNX, and check it against Keras.

    Labels, image spec and temperature lie beside it.

    Example: `fer export --processed data/processed --model data/model --evaluation data/reports/evaluation --out data/export`
    """
    from fer_pipeline.models.export import export as export_model
    from fer_pipeline.workspace.dvc import lineage

    everything = load_params(params)
    with exclusive(out, "fer export"):
        metadata = lineage(Path.cwd(), recipe_fingerprint(everything))
        run_id = json.loads((model / "training.json").read_text(encoding="utf-8"))["run_id"]
        lineage_of_run = {**metadata, "run_id": run_id or "none"}
        info, check = export_model(processed, model, evaluation, out, everything.export, lineage_of_run)
    if check is not None:
        results.print(f"8 bits: {check}" + ("" if check.holds else "; the model stays in float32"))
    results.print(f"{info.network} as ONNX, SHA-256 {info.sha256[:12]}, temperature {info.temperature:.3f}")
