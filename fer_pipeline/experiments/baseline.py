"""Fit the baseline in Spark, then export, measure and register it."""

from __future__ import annotations

from pathlib import Path

import onnx

from fer_pipeline.config.params import EvaluateParams, Params, recipe_fingerprint
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import training_image_hashes, write_training_images
from fer_pipeline.experiments import registry, runs
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.baseline.hog import BINS, CELL, hog_logistic
from fer_pipeline.models.baseline.logistic import REGULARISATIONS, HogLogistic, fit_hog_logistic
from fer_pipeline.models.recalibration import recalibrated
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import replaced_folder

NAME = "hog-logistic"


def baseline_and_track(processed: Path, out: Path, params: Params) -> tuple[ModelInfo, registry.Version]:
    """Fit HOG features with logistic regression; register it as baseline.

    Returns model and version; the version is no challenger. Replaces the folder `out`: model.onnx, model.json, metrics.json
    with the figures on the test split, by the names of evaluate. Whatever takes an exported model without model.keras takes it.
    Its MLflow run has the same metric names, the validation accuracy of each penalty that was tried, and the list of the
    pictures that it learned from. Raises `SourceError`, `DataQualityError` or `ToolUnavailableError`. The run has
    failed where an exception ends the fit.
    """
    table = ProcessedTable.open(processed)
    lineage = dvc.lineage(Path.cwd(), recipe_fingerprint(params))
    recipe = {
        "baseline": {"features": NAME, "cell": CELL, "bins": BINS, "regularisations": list(REGULARISATIONS)},
        "preprocess": params.preprocess.model_dump(mode="json"),
    }
    source = table.metadata["source"]
    tags = {**lineage, "network": NAME, "data": source["name"], "synthetic": str(source["synthetic"]).lower()}
    memo = out.with_name(f".{out.name}-run.json")
    run_id = runs.open_training_run(memo, NAME, recipe, tags)
    with runs.failing(run_id):
        fitted = fit_hog_logistic(processed, params.preprocess.spark_master)
        lineage |= {"run_id": run_id, "regularisation": f"{fitted.regularisation:g}"}
        info = _export(fitted, table, out, params.evaluate, lineage)
        runs.log_test_metrics(run_id, info.metrics)
        tried = {f"validation/accuracy_regularisation_{penalty:g}": value for penalty, value in fitted.tried.items()}
        runs.log_metrics(run_id, tried)
        runs.close_training_run(memo, run_id, [])
    described = registry.describing_tags(info)
    version, _ = registry.register(out, info, params.promote.model_name, run_id, described, alias=registry.BASELINE)
    return info, version


def _export(fitted: HogLogistic, table: ProcessedTable, out: Path, params: EvaluateParams, lineage: dict[str, str]) -> ModelInfo:
    validation, test = (table.split(name) for name in ("validation", "test"))
    source = table.metadata["source"]
    with replaced_folder(out) as folder:
        onnx.save(hog_logistic(fitted.weights, fitted.intercepts), folder / MODEL_FILE)
        info = ModelInfo(
            network=NAME,
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            image_spec=ImageSpec.from_dict(table.metadata["image_spec"]),
            synthetic=source["synthetic"],
            data=source["name"],
            lineage=lineage,
        )
        info.write(folder)
        write_training_images(folder, training_image_hashes(table))
        info, _ = recalibrated(folder, validation, test, params)
    return info
