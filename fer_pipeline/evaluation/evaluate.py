"""Run the evaluate stage: calibrate, measure, write the report."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import load_test
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.measure import PredictLogits, measure
from fer_pipeline.evaluation.report import write_evaluation
from fer_pipeline.training.artifacts import read_history, read_model, read_training
from fer_pipeline.workspace.files import replaced_folder


def evaluate(
    model_dir: Path, processed: Path, out: Path, params: EvaluateParams, finished: tuple[PredictLogits, float] | None = None
) -> dict[str, float]:
    """Calibrate on validation, measure on test, write the report; return the metrics.

    Returned is the content of metrics.json and more_metrics.json: metrics of the calibrated model, as it is served. Without
    `finished` the model is the Keras network in `model_dir`. `finished` holds the logits and the temperature of a model that is
    measured as it is: nothing is fitted, and the validation split is not read, since the model may have been trained on its
    images.

    With `params.test_time_augmentation` there are also accuracy_tta and macro_f1_tta (with _low, _high, and _dedup for rows
    without a copy), ece_tta and validation_accuracy_tta. They are of the mean logits over ten views of an image, with a
    temperature of their own; a finished model has no ece_tta. Rows without a copy are those whose image is neither in train nor
    in the model's list of training images.

    Replaces the folder `out`: report.html, metrics.json, more_metrics.json, calibration.json, predictions.parquet, confusion.csv,
    roc.csv, pr.csv, reliability.csv, figures/*.png. Raises `ModelError` where the model is missing, was trained for other images
    or has no list of what it learned from, and `SourceError` or `DataQualityError` where the table cannot be used.
    """
    training, table = read_training(model_dir), ProcessedTable.open(processed)
    spec = table.metadata["image_spec"]
    if training["image_spec"] != spec:
        raise ModelError(f"model was trained with image spec {training['image_spec']}, {processed} holds {spec}: train again")
    predict, calibrate_on = finished or (
        partial(read_model(model_dir).predict, batch_size=params.batch_size, verbose=0),
        table.split("validation"),
    )
    evaluation = measure(predict, calibrate_on, load_test(table, model_dir), params, training, read_history(model_dir))
    with replaced_folder(out) as folder:
        write_evaluation(folder, evaluation)
    return evaluation.metrics
