"""What joins the rooms in the baseline: Spark MLlib fits it, it is measured as networks are, MLflow shows it beside them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from fer_pipeline import params as params_file
from fer_pipeline.datasets import versioning
from fer_pipeline.datasets.hog import BINS, CELL
from fer_pipeline.datasets.logistic import REGULARISATIONS, HogLogistic, fit_hog_logistic
from fer_pipeline.errors import FerError
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.modeling import tracking
from fer_pipeline.modeling.loading import load_facts, load_split
from fer_pipeline.modeling.metrics import METRICS_FILE
from fer_pipeline.outputs import replaced_folder, write_json
from fer_pipeline.params import Params

NAME = "hog-logistic"
WEIGHTS_FILE, DESCRIPTION_FILE = "weights.npz", "baseline.json"


def baseline_and_track(processed: Path, out: Path, params: Params) -> dict[str, float]:
    """Figures of HOG features with logistic regression on the test split, by the names of evaluate, as one MLflow run.

    Replaces the folder `out`: metrics.json, weights.npz (arrays weights (7, 900) and intercepts (7,), no pickle), baseline.json
    (penalties tried with their validation accuracy, temperature). The run carries the tag `baseline`. It is no version in the
    registry: versions are ONNX networks that eat faces, and the service knows no others. Raises `SourceError`,
    `DataQualityError` or `EnvironmentFault`.
    """
    facts = load_facts(processed)
    validation, test = load_split(processed, "validation"), load_split(processed, "test")
    tags = {
        **versioning.lineage(Path.cwd(), params_file.recipe_fingerprint(params)),
        "baseline": "true",
        "network": NAME,
        "data": facts["source"]["name"],
        "synthetic": str(facts["source"]["synthetic"]).lower(),
    }
    recipe = {
        "baseline": {"features": NAME, "cell": CELL, "bins": BINS, "regularisations": list(REGULARISATIONS)},
        "preprocess": params.preprocess.model_dump(mode="json"),
    }
    memo = out.with_name(".baseline-run.json")
    run_id = tracking.open_training_run(memo, NAME, recipe, tags)
    try:
        from fer_pipeline.modeling.evaluation import measure  # Keras takes ten seconds to import

        fitted = fit_hog_logistic(processed, params.preprocess.master)
        plain = params.evaluate.model_copy(update={"test_time_augmentation": False})
        evaluation = measure(fitted.predict, validation, test, plain, {}, [])
        with replaced_folder(out) as folder:
            write_json(folder / METRICS_FILE, evaluation.metrics)
            _write_model(folder, fitted, evaluation.calibration["temperature"])
    except FerError as error:
        tracking.fail_run(run_id, str(error))
        raise
    tracking.log_metrics(run_id, {f"test_{name}": value for name, value in evaluation.metrics.items()})
    tracking.close_training_run(memo, run_id, [out / DESCRIPTION_FILE])
    tracking.log_files(run_id, out, "evaluation")
    return evaluation.metrics


def _write_model(folder: Path, fitted: HogLogistic, temperature: float) -> None:
    np.savez(folder / WEIGHTS_FILE, weights=fitted.weights, intercepts=fitted.intercepts)
    values = {key: value for key, value in asdict(fitted).items() if key in ("regularisation", "tried")}
    write_json(
        folder / DESCRIPTION_FILE,
        {"model": NAME, "cell": CELL, "bins": BINS, "labels": list(EMOTIONS), "temperature": temperature, **values},
    )
