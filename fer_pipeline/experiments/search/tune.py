"""Search for a recipe: one training and one MLflow run per trial.

Trials are chosen on the validation split; the test split is never read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from fer_pipeline.config.base import fingerprint
from fer_pipeline.config.params import Params, recipe_fingerprint
from fer_pipeline.config.training import TrainParams
from fer_pipeline.config.tuning import TuneParams
from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import load_training_faces
from fer_pipeline.errors import DivergedError, FerError
from fer_pipeline.experiments import runs
from fer_pipeline.experiments.search.report import write_search
from fer_pipeline.experiments.search.result import SearchResult
from fer_pipeline.experiments.search.study import COMPLETE, FAILED, STOPPED, Search, Stopped, Tried
from fer_pipeline.experiments.tracking.system_metrics import system_metrics
from fer_pipeline.training.checkpoints import discard
from fer_pipeline.training.initial import learned_images
from fer_pipeline.training.train import recipe_key, train
from fer_pipeline.workspace import dvc

CHECKPOINTS = "checkpoints"


def tune(
    processed: Path,
    folder: Path,
    report: Path,
    params: Params,
    soft_labels: Path,
    *,
    trials: int | None,
    on_progress: Callable[[str], None],
) -> SearchResult:
    """Run trials until `trials` of them have ended, and write the page.

    Complete trials and those stopped early count; None: `tune.trials` of params. The study, the checkpoint of the running trial
    and the best recipe so far (best.json) lie in `folder`: a killed search goes on there, and its last trial after the last
    finished epoch. Another recipe, space or data is another study in the same file. `on_progress` gets a line per trial.

    Raises `FerError` where no trial was complete, and what `train` raises but for `DivergedError`, which only ends a trial.
    """
    table = ProcessedTable.open(processed)
    source = table.metadata["source"]
    learned_images(table, params.train)  # refuses an initial model that knows the validation rows
    faces = load_training_faces(processed, soft_labels, params.train)
    check_space(params.train, params.tune)
    search = Search(folder, study_name(*faces, params), params.tune)
    tags = {
        **dvc.lineage(Path.cwd(), recipe_fingerprint(params)),
        "network": params.train.network,
        "profile": params.train.profile,
        "data": source["name"],
        "synthetic": str(source["synthetic"]).lower(),
    }
    name = f"{params.train.network}-{params.train.profile}"
    settings = {"train": params.train.model_dump(mode="json"), "tune": params.tune.model_dump(mode="json")}
    parent = runs.open_search_run(search.run_id, name, settings, tags)
    search.note_run(parent)
    for left in search.recover():
        on_progress(f"trial {left.number} was killed: marked as failed, its values are tried again")
        if left.run_id is not None and runs.is_active(left.run_id):  # the store may be another one by now
            runs.fail_run(left.run_id, "its process was killed")
    wanted = trials or params.tune.trials
    with runs.failing(parent):
        while search.counted < wanted:
            done = _trial(search, faces, params, folder / CHECKPOINTS, parent, tags, on_progress)
            on_progress(f"{_words(done, params.tune)} ({search.counted} of {wanted} trials{_best_words(search)})")
            if search.best is not None:
                _result(search, search.best, params, tags).write(folder)
        if search.best is None:
            raise FerError(
                f"none of {search.counted} trials was complete: {search.trials[-1].note}; narrow tune.space, or raise tune.trials"
            )
        result = _result(search, search.best, params, tags)
        result.write(folder)
        write_search(report, search, result)
        runs.log_metrics(parent, {f"best_val_{params.tune.metric}": result.value})
        runs.log_files(parent, report, "search")
        runs.end_run(parent)
    return result


def check_space(train_params: TrainParams, params: TuneParams) -> None:
    """Check that the recipe in use fits every end of the search space.

    Raises `ParamsError` where it does not, before hours are spent.
    """
    for key, candidates in params.space.items():
        for value in candidates.ends:
            train_params.with_values({key: value})


def study_name(data_train: FaceDataset, data_validation: FaceDataset, params: Params) -> str:
    """Name the study of searches whose trials can be compared.

    It is the same for equal recipe, data, backend and section tune without its `trials`.
    """
    plan = params.tune.model_copy(update={"trials": 1})
    key = recipe_key(data_train, data_validation, params.train) + fingerprint(plan)
    return f"{params.train.network}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _trial(
    search: Search,
    faces: tuple[FaceDataset, FaceDataset],
    params: Params,
    checkpoints: Path,
    parent: str,
    tags: dict[str, str],
    on_progress: Callable[[str], None],
) -> Tried:
    number, values = search.ask()
    recipe = params.train.with_values(values).shortened(params.tune.epochs)
    on_progress(f"trial {number}: {', '.join(f'{key} {value}' for key, value in values.items())}")
    run_id = runs.open_trial_run(
        parent, f"trial {number}", {"train": recipe.model_dump(mode="json")}, {**tags, "trial": str(number)}
    )
    search.note_run(run_id)
    metric = f"val_{params.tune.metric}"

    def on_epoch(epoch: int, figures: dict[str, float]) -> None:
        runs.log_epoch(run_id, figures)
        search.report(epoch, figures[metric], last=epoch == recipe.epochs)

    value, note = None, ""
    try:
        with runs.failing(run_id, but=(Stopped, DivergedError)), system_metrics(run_id):
            result = train(*faces, recipe, checkpoints, on_epoch)
            value = result.best[metric]
    except (Stopped, DivergedError) as ending:
        note = str(ending)
    except Exception as error:
        search.fail(str(error))
        raise
    # In this order, so that a kill in between leaves a trial that is tried again, and no run that seems to go on.
    runs.end_run(run_id, {"trial.state": STOPPED if value is None else COMPLETE, "trial.note": note})
    done = search.stop(note) if value is None else search.complete(value)
    discard(checkpoints)
    return done


def _result(search: Search, best: Tried, params: Params, tags: dict[str, str]) -> SearchResult:
    assert best.value is not None
    ended = [trial for trial in search.trials if trial.state != FAILED]
    return SearchResult(
        study=search.name,
        metric=params.tune.metric,
        value=best.value,
        trial=best.number,
        trials=len(ended),
        stopped=sum(trial.state == STOPPED for trial in ended),
        epochs=params.tune.epochs,
        seed=params.tune.seed,
        train_seed=params.train.seed,
        seconds=sum(trial.seconds for trial in ended),
        data=tags["data"],
        synthetic=tags["synthetic"] == "true",
        data_version=tags["data_version"],
        git_commit=tags["git_commit"],
        values=best.values,
        recipe=params.train.with_values(best.values),
    )


def _words(done: Tried, params: TuneParams) -> str:
    if done.value is None:
        return f"trial {done.number} stopped: {done.note}"
    return f"trial {done.number} complete: validation {params.metric} {done.value:.4f} in {done.seconds:,.0f} s"


def _best_words(search: Search) -> str:
    best = search.best
    return f", best {best.value:.4f} of trial {best.number}" if best else ""
