"""What joins the rooms in the baseline: Spark MLlib fits it, it is measured as networks are, MLflow shows it beside them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline import params as params_file
from fer_pipeline.datasets import versioning
from fer_pipeline.datasets.hog import BINS, CELL
from fer_pipeline.datasets.logistic import REGULARISATIONS, HogLogistic, fit_hog_logistic
from fer_pipeline.errors import FerError, ModelError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.modeling import tracking
from fer_pipeline.modeling.loading import content_hashes, load_facts, load_split
from fer_pipeline.modeling.metrics import METRICS_FILE, softmax
from fer_pipeline.outputs import replaced_folder, write_json
from fer_pipeline.params import Params
from fer_pipeline.stages import HASHES_FILE

NAME = "hog-logistic"
WEIGHTS_FILE, DESCRIPTION_FILE = "weights.npz", "baseline.json"


def baseline_and_track(processed: Path, out: Path, params: Params) -> dict[str, float]:
    """Figures of HOG features with logistic regression on the test split, by the names of evaluate, as one MLflow run.

    Replaces the folder `out`: metrics.json, weights.npz (arrays weights (7, 900) and intercepts (7,), no pickle), baseline.json
    (penalties tried with their validation accuracy, temperature, run). The run carries the tag `baseline`, and the list of the
    pictures that it learned from. It is no version in the registry: each version is an ONNX file that can be promoted and
    served, and its features are OpenCV's; `Baseline` brings it into `fer compare`. Raises `SourceError`, `DataQualityError` or
    `EnvironmentFault`.
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
            _write_model(folder, fitted, evaluation.calibration["temperature"], facts, run_id)
    except FerError as error:
        tracking.fail_run(run_id, str(error))
        raise
    tracking.log_metrics(run_id, {f"test_{name}": value for name, value in evaluation.metrics.items()})
    tracking.log_lines(run_id, "training", HASHES_FILE, sorted(content_hashes(processed, "train").values()))
    tracking.close_training_run(memo, run_id, [out / DESCRIPTION_FILE])
    tracking.log_files(run_id, out, "evaluation")
    return evaluation.metrics


@dataclass(frozen=True)
class Baseline:
    """The fitted baseline of a folder, with what a comparison needs; `image_spec` is that of the pictures it learned from."""

    model: HogLogistic
    temperature: float
    run_id: str
    synthetic: bool
    image_spec: dict[str, Any]
    megabytes: float

    @classmethod
    def read(cls, folder: Path) -> Baseline:
        """What `baseline_and_track` left there. Raises `ModelError` where it is missing, damaged or of an earlier code."""
        try:
            facts = json.loads((folder / DESCRIPTION_FILE).read_text(encoding="utf-8"))
            with np.load(folder / WEIGHTS_FILE, allow_pickle=False) as stored:
                model = HogLogistic(stored["weights"], stored["intercepts"], facts["regularisation"], facts["tried"])
            size = (folder / WEIGHTS_FILE).stat().st_size / 1e6
            return cls(model, facts["temperature"], facts["run_id"], facts["synthetic"], facts["image_spec"], size)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"no baseline in {folder} that can be read ({error!r}): `fer baseline` makes one") from error

    def __str__(self) -> str:
        return f"baseline {NAME}"

    def probabilities(self, images: UInt8Array) -> npt.NDArray[np.float64]:
        """Calibrated probabilities float64 (N, 7) of faces uint8 (N, 48, 48, 1)."""
        return softmax(self.model.predict(images), self.temperature)


def _write_model(folder: Path, fitted: HogLogistic, temperature: float, facts: dict[str, Any], run_id: str) -> None:
    np.savez(folder / WEIGHTS_FILE, weights=fitted.weights, intercepts=fitted.intercepts)
    values = {key: value for key, value in asdict(fitted).items() if key in ("regularisation", "tried")}
    values |= {"run_id": run_id, "synthetic": facts["source"]["synthetic"], "image_spec": facts["image_spec"]}
    write_json(
        folder / DESCRIPTION_FILE,
        {"model": NAME, "cell": CELL, "bins": BINS, "labels": list(EMOTIONS), "temperature": temperature, **values},
    )
