"""MLflow's tracking: the run of a training, its data, figures and files."""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import mlflow.data.numpy_dataset
from mlflow import MlflowClient
from mlflow.entities import DatasetInput, InputTag, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.errors import FerError
from fer_pipeline.experiments.legacy_tags import current_metrics
from fer_pipeline.experiments.mlflow_store import clear_errors, experiment_id, is_missing
from fer_pipeline.experiments.records import TrackedRun as TrackedRun, metric_name, training_experiment
from fer_pipeline.experiments.tracking.context import context_tags
from fer_pipeline.workspace.files import write_json
from fer_pipeline.workspace.layout import PROCESSED

TRACEBACK_FILE = "traceback.txt"
"""Artifact of a run that ended by an exception."""

_FAILURE = "failure"

logger = logging.getLogger(__name__)


def open_training_run(memo: Path, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Open the MLflow run of a training, or continue that of a killed one.

    Returns its id. A killed training with the same tags left its id in `memo`. `params` is logged flat ("train.lr"), `tags` as
    they are.
    """
    with clear_errors():
        client = MlflowClient()
        run_id = _unfinished_run(client, memo, tags)
        if run_id is None:
            run_id = _new_run(client, training_experiment(), name, params, tags)
            write_json(memo, {"run_id": run_id, "tags": dict(tags)})
        else:
            _go_on(client, run_id, tags)
    return run_id


def close_training_run(memo: Path, run_id: str, files: list[Path]) -> None:
    """Marks the training as finished, stores its files, and forgets the memo."""
    with clear_errors():
        log_training_files(run_id, files)
        MlflowClient().set_terminated(run_id, "FINISHED")
    memo.unlink(missing_ok=True)


def log_training_files(run_id: str, files: list[Path]) -> None:
    """Store files of a training in its run."""
    with clear_errors():
        for file in files:
            MlflowClient().log_artifact(run_id, str(file), "training")


def open_search_run(known: str | None, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Open the MLflow run of a search, or continue the one `known`.

    Returns its id; the runs of the trials are its children.
    """
    with clear_errors():
        client = MlflowClient()
        if known is not None and _exists(client, known):
            _go_on(client, known, tags)
            return known
        return _new_run(client, f"{training_experiment()}-search", name, params, tags)


def open_trial_run(parent: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    """Id of a new MLflow run nested in the run `parent`."""
    with clear_errors():
        return _new_run(MlflowClient(), f"{training_experiment()}-search", name, params, {**tags, MLFLOW_PARENT_RUN_ID: parent})


def end_run(run_id: str, tags: Mapping[str, str] | None = None) -> None:
    """Marks a run as finished, with these tags."""
    with clear_errors():
        for key, value in (tags or {}).items():
            MlflowClient().set_tag(run_id, key, value[:5000])
        MlflowClient().set_terminated(run_id, "FINISHED")


def fail_run(run_id: str, reason: str) -> None:
    """Marks a run as failed, with the reason as a tag."""
    with clear_errors():
        MlflowClient().set_tag(run_id, _FAILURE, reason[:5000])
        MlflowClient().set_terminated(run_id, "FAILED")


@contextmanager
def failing(run_id: str, but: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """End a run as FAILED where the block raises another exception than `but`.

    Its message becomes the tag `failure`, its traceback the artifact `TRACEBACK_FILE`; a store that cannot take them is logged.
    The exception goes on. Ctrl-C and a kill leave the run as it is, so that the same command goes on with it.
    """
    try:
        yield
    except but:
        raise
    except Exception as error:
        reason = str(error) if isinstance(error, FerError) else f"{type(error).__name__}: {error}".rstrip(": ")
        try:
            with clear_errors():
                MlflowClient().log_text(run_id, "".join(traceback.format_exception(error)), TRACEBACK_FILE)
            fail_run(run_id, reason)
        except (FerError, OSError) as unstored:
            logger.warning("the MLflow run %s could not be ended as failed: %s", run_id, unstored)
        raise


def clear_failure(run_id: str) -> None:
    """Mark a run that had failed as finished; one that had not stays as it is."""
    with clear_errors():
        if _FAILURE in MlflowClient().get_run(run_id).data.tags:
            MlflowClient().delete_tag(run_id, _FAILURE)
            MlflowClient().set_terminated(run_id, "FINISHED")


def is_active(run_id: str) -> bool:
    """Whether the tracking store holds this run, and it was not deleted."""
    with clear_errors():
        return _exists(MlflowClient(), run_id)


def log_data_set(run_id: str, split: str, faces: FaceDataset, name: str) -> None:
    """Record a split that the run was trained or measured on, with a digest of it."""
    with clear_errors():
        data = mlflow.data.numpy_dataset.from_numpy(
            faces.images, targets=faces.labels, source=str(PROCESSED), name=f"{name}-{split}", digest=faces.fingerprint
        )
        used = DatasetInput(data._to_mlflow_entity(), [InputTag("mlflow.data.context", split)])
        MlflowClient().log_inputs(run_id, [used])


def log_metrics(run_id: str, metrics: Mapping[str, float], step: int | None = None) -> None:
    """Log figures under the names of `metric_name`; `step` is the epoch, from 1."""
    with clear_errors():
        mlflow.log_metrics({metric_name(key): value for key, value in metrics.items()}, step=step, run_id=run_id)


def log_epoch(run_id: str, figures: Mapping[str, float]) -> None:
    """Log a line of history.csv as a point of the curves."""
    log_metrics(run_id, {key: value for key, value in figures.items() if key != "epoch"}, int(figures["epoch"]))


def log_test_metrics(run_id: str, metrics: Mapping[str, float]) -> None:
    """Log the metrics of an evaluation."""
    log_metrics(run_id, {f"test_{key}": value for key, value in metrics.items()})


def log_params(run_id: str, params: Mapping[str, Any]) -> None:
    """Log nested parameters flat ("train.lr")."""
    with clear_errors():
        MlflowClient().log_batch(run_id, params=[Param(key, str(value)) for key, value in flatten(params).items()])


def read_run(run_id: str) -> TrackedRun:
    """What the store holds of a run. Raises `FerError` where it does not know the run."""
    with clear_errors():
        return _tracked(MlflowClient().get_run(run_id))


def recent_runs(limit: int) -> list[TrackedRun]:
    """The runs of the experiment, youngest first; empty where nothing was trained yet."""
    with clear_errors():
        client = MlflowClient()
        experiment = client.get_experiment_by_name(training_experiment())
        if experiment is None:
            return []
        found = client.search_runs([experiment.experiment_id], max_results=limit, order_by=["attributes.start_time DESC"])
        return [_tracked(run) for run in found]


def log_files(run_id: str, folder: Path, place: str) -> None:
    """Stores all files of a folder under `place` of the run."""
    with clear_errors():
        MlflowClient().log_artifacts(run_id, str(folder), place)


def ensure_run(run_id: str | None, name: str, tags: Mapping[str, str], fill: Callable[[str], None] | None = None) -> str:
    """Return the run where this store knows it, or a new one tagged `restored`.

    It is not known where a model came through DVC's cache. `fill` stores what is known of the training in the new run.
    """
    with clear_errors():
        client = MlflowClient()
        if run_id is not None and _exists(client, run_id):
            return run_id
        experiment = experiment_id(training_experiment())
        known = client.search_runs([experiment], f"tags.restored = '{run_id}'") if run_id else []
        if known:
            return str(known[0].info.run_id)
        restored = _new_run(client, training_experiment(), name, {}, {**tags, "restored": run_id or "unknown"})
        if fill is not None:
            with failing(restored):
                fill(restored)
        client.set_terminated(restored, "FINISHED")
        return restored


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """{"train": {"lr": 0.1}} as {"train.lr": 0.1}."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _tracked(run: Run) -> TrackedRun:
    info, data = run.info, run.data
    ended = info.end_time / 1000 if info.end_time else None
    tags = {key: value for key, value in data.tags.items() if not key.startswith("mlflow.")}
    return TrackedRun(
        info.run_id,
        info.run_name,
        info.status,
        info.start_time / 1000,
        ended,
        dict(data.params),
        current_metrics(data.metrics),
        tags,
    )


def _new_run(client: MlflowClient, experiment: str, name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> str:
    all_tags = {**context_tags(tags.get("git_commit", "none")), **tags}
    run_id = str(client.create_run(experiment_id(experiment), run_name=name, tags=all_tags).info.run_id)
    log_params(run_id, params)
    return run_id


def _go_on(client: MlflowClient, run_id: str, tags: Mapping[str, str]) -> None:
    """Mark a run as running again, here and now."""
    if _FAILURE in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, _FAILURE)
    context = context_tags(tags.get("git_commit", "none"))
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in context.items()])
    client.update_run(run_id, status="RUNNING")


def _unfinished_run(client: MlflowClient, memo: Path, tags: Mapping[str, str]) -> str | None:
    try:
        metadata = json.loads(memo.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    same = isinstance(metadata, dict) and metadata.get("tags") == dict(tags)
    return str(metadata["run_id"]) if same and _exists(client, metadata["run_id"]) else None


def _exists(client: MlflowClient, run_id: str) -> bool:
    try:
        return bool(client.get_run(run_id).info.lifecycle_stage == "active")  # a deleted run can still be read
    except MlflowException as error:
        if is_missing(error):
            return False
        raise
