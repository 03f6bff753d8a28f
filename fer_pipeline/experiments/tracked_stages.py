"""Stages that need several rooms: data source, tracked train and evaluate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fer_pipeline.config import editing
from fer_pipeline.config.params import FetchParams, Params, parse_fetch, recipe_fingerprint
from fer_pipeline.data.fetch import fetch
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import load_training_faces
from fer_pipeline.errors import ParamsError
from fer_pipeline.evaluation.stored_metrics import read_metrics
from fer_pipeline.experiments import runs
from fer_pipeline.experiments.tracking.context import dvc_experiment
from fer_pipeline.experiments.tracking.system_metrics import system_metrics
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.training.checkpoints import discard
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.files import METRICS_FILE
from fer_pipeline.workspace.layout import PARAMS, SOURCE, SYNTHETIC

_NAMED = 4


def use_data(root: Path, path: Path, votes: Path | None, numbering: str = "ask", contempt: str = "refuse") -> str:
    """Make a path, or `synthetic`, the source in params.yaml; return what was done.

    `numbering` and `contempt` are those of `FetchParams`; they belong to this source, so those of the one before are replaced.
    Raises `ParamsError` for unknown ones.
    """
    parameter_file = root / PARAMS
    labels = {"numbering": numbering, "contempt": contempt}
    if str(path) == "synthetic":
        if votes is not None:
            raise ParamsError(f"votes {votes} were given with synthetic faces, which have none: leave them out")
        fetch.check(root / SYNTHETIC, FetchParams())
        editing.write_values(parameter_file, {"fetch": {"source": str(SYNTHETIC), **labels}})
        return "the source is now the embedded synthetic faces"
    fetch.check(path, parse_fetch(labels))
    version = dvc.add_source(root, [path, *([votes] if votes else [])])
    editing.write_values(parameter_file, {"fetch": {"source": str(SOURCE), **labels}})
    return f"{SOURCE} holds {path.name}, version {version}; commit {SOURCE}.dvc and {PARAMS} to keep it"


def use_soft_labels(root: Path, folder: Path, weight: float, fingerprint: str) -> str:
    """Put stored soft labels under DVC, and set params.yaml to train with them.

    `weight` in 0..1 is their share in the target of a label. Returns their DVC version. Raises `ParamsError` where the recipe
    does not allow it.
    """
    version = dvc.track(root, folder)
    editing.write_values(root / PARAMS, {"train.soft_label_weight": weight, "train.soft_labels_hash": fingerprint})
    return version


def use_teachers(root: Path, folder: Path, weight: float, fingerprint: str) -> str:
    """Put stored teachers under DVC; set params.yaml to train with them at full size.

    `weight` in 0..1 is that of their answers in the loss. Returns their DVC version. Raises `ParamsError` where the recipe does
    not allow it.
    """
    version = dvc.track(root, folder)
    values = {"train.distillation_weight": weight, "train.teachers_hash": fingerprint, "train.low_resolution_epochs": 0}
    editing.write_values(root / PARAMS, values)
    return version


def run_name(params: Params) -> str:
    """Name a run by network, profile, changed values and DVC experiment.

    Such as "compact-cpu lr=0.01 batch_size=64 @brave-ibis". At most `_NAMED` of the values that differ from the profile's are
    named, and how many more there are.
    """
    recipe = params.train
    words = [f"{recipe.network}-{recipe.profile}"]
    if recipe.profile in params.profiles:
        plain = runs.flatten(params.recipe(recipe.profile).model_dump(mode="json"))
        now = runs.flatten(recipe.model_dump(mode="json"))
        changed = [f"{key}={value}" for key, value in now.items() if key != "network" and value != plain[key]]
        words += changed[:_NAMED]
        if len(changed) > _NAMED:
            words.append(f"and {len(changed) - _NAMED} more")
    if experiment := dvc_experiment():
        words.append(f"@{experiment}")
    return " ".join(words)


def train_and_track(processed: Path, out: Path, checkpoints: Path, params: Params, soft_labels: Path, teachers: Path) -> str:
    """Train as one MLflow run; a killed training goes on with its run.

    Returns a summary in one line. The run has failed where an exception ends the training.
    """
    from fer_pipeline.training.artifacts import HISTORY_FILE, TRAINING_FILE, write_model  # Keras takes ten seconds to import
    from fer_pipeline.training.initial import learned_images
    from fer_pipeline.training.train import train

    table = ProcessedTable.open(processed)
    source = table.metadata["source"]
    origin = dvc.lineage(Path.cwd(), recipe_fingerprint(params))
    tags = {
        **origin,
        "network": params.train.network,
        "profile": params.train.profile,
        "data": source["name"],
        "synthetic": str(source["synthetic"]).lower(),
    }
    learned = learned_images(table, params.train)
    train_set, validation_set = load_training_faces(processed, soft_labels, params.train)
    memo = checkpoints.with_name(".training-run.json")
    recipe = {"train": params.train.model_dump(mode="json"), "preprocess": params.preprocess.model_dump(mode="json")}
    run_id = runs.open_training_run(memo, run_name(params), recipe, tags)
    with runs.failing(run_id):
        for split, faces in (("train", train_set), ("validation", validation_set)):
            runs.log_data_set(run_id, split, faces, tags["data"])
        with system_metrics(run_id):
            result = train(
                train_set,
                validation_set,
                params.train,
                checkpoints,
                on_epoch=lambda _epoch, figures: runs.log_epoch(run_id, figures),
                teachers=teachers,
            )
        write_model(out, result, params.train, table.metadata, learned, run_id=run_id)
        runs.close_training_run(memo, run_id, [out / HISTORY_FILE, out / TRAINING_FILE])
    discard(checkpoints)  # only now: a training whose end could not be stored goes on from its last epoch
    return result.summary


def log_training(run_id: str, model: Path, training: Mapping[str, Any]) -> None:
    """Log parameters, curves and files of a finished training to a run.

    `model` is the folder of its model, `training` the content of its training.json.
    """
    from fer_pipeline.training.artifacts import HISTORY_FILE, TRAINING_FILE, read_history

    runs.log_params(run_id, {"train": training["params"]})
    for figures in read_history(model):
        runs.log_epoch(run_id, figures)
    runs.log_training_files(run_id, [model / HISTORY_FILE, model / TRAINING_FILE])


def restored_run(root: Path, info: ModelInfo, tags: Mapping[str, str]) -> str:
    """Return the run of an exported model; make one of what the stages left.

    It is made where this store does not know the training's own run, as after `dvc pull`: with its parameters and curves where
    the model of the stage train is the exported one, the metrics of the export, and the report of evaluate.
    """
    known = info.lineage.get("run_id")

    def fill(run_id: str) -> None:
        from fer_pipeline.training.artifacts import TRAINING_FILE, read_training

        model, report = dvc.output(root, "train"), dvc.output(root, "evaluate")
        if (model / TRAINING_FILE).exists() and (training := read_training(model))["run_id"] == known:
            log_training(run_id, model, training)
        runs.log_test_metrics(run_id, info.metrics)
        if (report / METRICS_FILE).exists() and read_metrics(report) == info.metrics:
            runs.log_files(run_id, report, "evaluation")

    return runs.ensure_run(known, info.network, tags, fill)


def evaluate_pretrained(processed: Path, name: str, out: Path, params: Params) -> dict[str, float]:
    """Evaluate a pretrained model as it is served; no MLflow run changes.

    It runs on onnxruntime with its own temperature.
    """
    from fer_pipeline.evaluation import evaluate
    from fer_pipeline.inference.classifier import EmotionClassifier
    from fer_pipeline.inference.pretrained import pretrained_folder

    folder = pretrained_folder(name)
    classifier = EmotionClassifier.load(folder, threads=2)
    finished = (classifier.logits, classifier.info.temperature)
    return evaluate.evaluate(folder, processed, out, params.evaluate, finished)


def evaluate_and_track(processed: Path, model: Path, out: Path, params: Params) -> dict[str, float]:
    """Evaluate, and add figures and report to the training's MLflow run.

    Returns the metrics. The run has failed where the evaluation does, until one succeeds.
    """
    from fer_pipeline.evaluation import evaluate
    from fer_pipeline.training.artifacts import read_training

    training = read_training(model)
    tags = dvc.lineage(Path.cwd(), recipe_fingerprint(params))
    name = f"{training['network']}-{training.get('profile', 'unknown')}"
    run_id = runs.ensure_run(training["run_id"], name, tags, lambda restored: log_training(restored, model, training))
    with runs.failing(run_id):
        metrics = evaluate.evaluate(model, processed, out, params.evaluate)
        runs.log_data_set(run_id, "test", ProcessedTable.open(processed).split("test"), training["source"])
        runs.log_test_metrics(run_id, metrics)
        runs.log_files(run_id, out, "evaluation")
    runs.clear_failure(run_id)
    return metrics
