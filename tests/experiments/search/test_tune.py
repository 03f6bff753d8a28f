"""The search as a whole: real trainings of seconds where killing and resuming count, made-up ones elsewhere."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient
from prefect import Flow
from prefect.logging import disable_run_logger
from prefect.utilities.importtools import import_object
from typer.testing import CliRunner

from fer_pipeline.cli.app import app
from fer_pipeline.config.params import Params, load_params
from fer_pipeline.config.training import TrainParams
from fer_pipeline.config.tuning import Choices, Range, TuneParams
from fer_pipeline.errors import DivergedError, FerError, ParamsError, ToolUnavailableError
from fer_pipeline.experiments.search import tune
from fer_pipeline.experiments.search.result import SearchResult
from fer_pipeline.training.train import OnEpoch
from flows import tuning

ROOT = Path(__file__).parents[3]
FACES = 84


class Killed(BaseException):
    """Stands for kill -9: nothing in the code under test may catch it."""


@dataclass(frozen=True)
class Trained:
    """As much of a TrainingResult as a search reads."""

    best: dict[str, float]


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory, make_processed: Callable[..., Path]) -> Path:
    return make_processed(tmp_path_factory.mktemp("tuning") / "processed", {"train": FACES, "validation": 28, "test": 28})


@pytest.fixture
def plan() -> Params:
    stored = load_params(ROOT / "params.yaml")
    train = TrainParams(network="plain_cnn", epochs=4, batch_size=28, low_resolution_epochs=0)
    space = {"lr": Range(low=0.001, high=0.1, log=True), "augment.flip": Choices(choices=[True, False])}
    search_params = TuneParams(trials=3, epochs=2, startup_trials=2, min_epochs=1, seed=3, space=space)
    return stored.model_copy(update={"train": train, "tune": search_params})


@pytest.fixture
def search(processed: Path, tracking_store: Path, plan: Params) -> Callable[..., SearchResult]:
    """Runs `tune` in tmp_path."""

    def run(
        trials: int | None = None, params: Params = plan, on_progress: Callable[[str], None] = lambda line: None
    ) -> SearchResult:
        return tune.tune(
            processed,
            Path("data/tuning"),
            Path("data/reports/tuning"),
            params,
            Path("none.parquet"),
            trials=trials,
            on_progress=on_progress,
        )

    return run


def made_up(values: list[float]) -> Callable[..., Trained]:
    """A training that reaches the next of the values, half of it in the first of two epochs; NaN stands for divergence."""
    left = iter(values)

    def train(_a: Any, _b: Any, recipe: TrainParams, _folder: Path, on_epoch: OnEpoch) -> Trained:
        final = next(left)
        history = [{"epoch": epoch, "val_accuracy": final * epoch / 2, "val_macro_f1": 1 - final} for epoch in (1, 2)]
        for epoch, figures in enumerate(history, 1):
            if np.isnan(final):
                raise DivergedError("loss became nan")
            on_epoch(epoch, figures)
        return Trained(history[-1])

    return train


def runs() -> dict[str, Any]:
    client = MlflowClient()
    experiment = client.get_experiment_by_name("fer-search")
    assert experiment is not None
    return {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def test_a_killed_search_goes_on(search: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed search goes on and its smoke test is tried again after the last finished epoch."""
    log = tune.runs.log_metrics
    epochs = iter(range(10))

    def kill_in_the_second_trial(run_id: str, metrics: dict[str, float], step: int | None = None) -> None:
        log(run_id, metrics, step)
        if next(epochs) == 2:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(tune.runs, "log_metrics", kill_in_the_second_trial)
        with pytest.raises(Killed):
            search(2)
    assert {name: run.info.status for name, run in runs().items()} == {
        "plain_cnn-smoke": "RUNNING",
        "trial 0": "FINISHED",
        "trial 1": "RUNNING",
    }
    resumed: list[int] = []
    train = tune.train

    def watched(*arguments: Any) -> Any:
        result = train(*arguments)
        resumed.append(result.resumed_after)
        return result

    monkeypatch.setattr(tune, "train", watched)
    said: list[str] = []
    result = search(2, on_progress=said.append)
    assert resumed == [1]
    assert said[0] == "trial 1 was killed: marked as failed, its values are tried again"
    known = runs()
    parent = known["plain_cnn-smoke"]
    assert {name: run.info.status for name, run in known.items()} == {
        "plain_cnn-smoke": "FINISHED",
        "trial 0": "FINISHED",
        "trial 1": "FAILED",
        "trial 2": "FINISHED",
    }
    for trial in range(3):
        run = known[f"trial {trial}"]
        assert run.data.tags["mlflow.parentRunId"] == parent.info.run_id
        assert run.data.params["train.epochs"] == "2"
    assert known["trial 2"].data.params["train.lr"] == known["trial 1"].data.params["train.lr"]
    assert [p.step for p in MlflowClient().get_metric_history(known["trial 2"].info.run_id, "validation/accuracy")] == [1, 2]
    assert result.trials == 2
    assert (
        parent.data.metrics["validation/best_accuracy"]
        == result.value
        == known[f"trial {result.trial}"].data.metrics["validation/accuracy"]
    )
    assert not Path("data/tuning/checkpoints").exists()
    assert search(2) == result  # nothing is left to do


def test_the_best_trial_wins_and_poor_ones_are_stopped(
    search: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best trial on validation wins and poor ones are stopped."""
    monkeypatch.setattr(tune, "train", made_up([0.4, 0.6, 0.2, float("nan"), 0.9]))
    result = search(5)
    assert (result.trial, result.value, result.trials, result.stopped) == (4, 0.9, 5, 2)
    assert result.recipe.epochs == 4
    assert result.recipe.lr == result.values["lr"]
    assert result.recipe.augment.flip == result.values["augment.flip"]
    with Path("data/reports/tuning/trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["complete", "complete", "stopped", "stopped", "complete"]
    assert rows[3]["note"] == "loss became nan"
    page = Path("data/reports/tuning/report.html").read_text()
    for words in ("90.0 %", "Parallel plot", "Searched on synthetic faces", "at least 8 complete trials", "augment.flip"):
        assert words in page
    assert 'src="http' not in page
    assert runs()["trial 2"].data.tags["trial.state"] == "stopped"


def test_more_trials_are_added_to_a_search(search: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch) -> None:
    """More trials are added to a search and importances come with them."""
    monkeypatch.setattr(tune, "train", made_up([0.5, 0.6, 0.61, 0.62, 0.63, 0.64, 0.65, 0.66]))
    assert search(2).trials == 2
    assert search(8).trials == 8
    assert "fANOVA" in Path("data/reports/tuning/report.html").read_text()


def test_another_recipe_or_space_is_another_search(
    search: Callable[..., SearchResult], plan: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another recipe or space is another search and the number of trials is not."""
    monkeypatch.setattr(tune, "train", made_up([0.5, 0.6, 0.7]))
    first = search(1)
    other = search(1, plan.model_copy(update={"train": plan.train.model_copy(update={"batch_size": 14})}))
    f1 = search(1, plan.model_copy(update={"tune": plan.tune.model_copy(update={"metric": "macro_f1"})}))
    assert len({first.study, other.study, f1.study}) == 3
    assert (f1.metric, f1.value) == ("macro_f1", pytest.approx(0.3))
    assert search(1, plan.model_copy(update={"tune": plan.tune.model_copy(update={"trials": 99})})) == first


def test_a_search_in_which_all_diverges_says_what_to_do(
    search: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tune, "train", made_up([float("nan")] * 2))
    with pytest.raises(FerError, match=r"none of 2 trials was complete: loss became nan; narrow tune\.space"):
        search(2)
    assert runs()["plain_cnn-smoke"].info.status == "FAILED"


@pytest.mark.parametrize("error", [ToolUnavailableError("disk full"), ZeroDivisionError("by zero")])
def test_a_fault_of_the_machine_or_the_code_ends_the_search(
    search: Callable[..., SearchResult], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is not taken for a bad trial; the runs of trial and search have failed, and the search can go on."""

    def fails(*_: Any) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(tune, "train", fails)
        with pytest.raises(type(error), match=str(error)):
            search(1)
    assert {name: run.info.status for name, run in runs().items()} == {"plain_cnn-smoke": "FAILED", "trial 0": "FAILED"}
    assert str(error) in runs()["plain_cnn-smoke"].data.tags["failure"]
    monkeypatch.setattr(tune, "train", made_up([0.5]))
    assert search(1).trials == 1
    assert "failure" not in runs()["plain_cnn-smoke"].data.tags


def test_a_space_that_does_not_fit_the_recipe_is_refused(search: Callable[..., SearchResult], plan: Params) -> None:
    """A space that does not fit the recipe is refused before any training."""
    adam = plan.train.model_copy(update={"optimizer": "adam", "weight_decay": 0.0})
    space = {"weight_decay": Range(low=0.0001, high=0.001)}
    params = plan.model_copy(update={"train": adam, "tune": plan.tune.model_copy(update={"space": space})})
    with pytest.raises(ParamsError, match="adam has no weight decay"):
        search(1, params)
    assert not Path("data/tuning").exists()


def test_the_best_trial_becomes_a_profile_by_one_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "profiles.yaml"):
        Path(name).write_text((ROOT / name).read_text())
    missing = CliRunner().invoke(app, ["profile", "save", "tuned", "--from-tuning"])
    assert isinstance(missing.exception, ParamsError)
    assert "run `fer tune` first" in str(missing.exception)
    recipe = load_params(Path("params.yaml")).recipe("cpu").with_values({"lr": 0.07, "augment.shift": 0.02})
    SearchResult(
        "compact-1", "accuracy", 0.6123, 7, 20, 11, 10, 0, 5, 60.0, "fer2013.csv", False, "v", "g", {"lr": 0.07}, recipe
    ).write(Path("data/tuning"))
    assert CliRunner().invoke(app, ["profile", "save", "tuned", "--from-tuning"]).exit_code == 0
    written = load_params(Path("params.yaml"))
    assert written.recipe("tuned") == recipe.model_copy(update={"profile": "tuned"})
    text = Path("profiles.yaml").read_text()
    for words in ("# Found by `fer tune`: trial 7, the best of 20 (11 stopped early)", "0.6123 after 10 epochs", "training seed"):
        assert words in text
    again = CliRunner().invoke(app, ["profile", "save", "tuned", "--from-tuning"])
    assert "there is a profile 'tuned' already" in str(again.exception)


def test_the_recipe_of_an_earlier_training_becomes_a_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("params.yaml", "profiles.yaml"):
        Path(name).write_text((ROOT / name).read_text())
    earlier = ROOT / "fer_pipeline" / "weights" / "fast-labels"
    assert CliRunner().invoke(app, ["profile", "save", "before", "--from-training", str(earlier)]).exit_code == 0
    params = load_params(Path("params.yaml"))
    assert params.recipe("before") == params.recipe("gpu-distill").model_copy(update={"profile": "before"})
    assert "# Saved from the training in fast-labels, of profile gpu-distill." in Path("profiles.yaml").read_text()
    both = CliRunner().invoke(app, ["profile", "save", "two", "--from-tuning", "--from-training", str(earlier)])
    assert "give one of them" in str(both.exception)
    missing = CliRunner().invoke(app, ["profile", "save", "none-there", "--from-training", "elsewhere"])
    assert "training.json cannot be read" in str(missing.exception)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "best.json").write_text('{"recipe"')
    with pytest.raises(ParamsError, match=r"best.json cannot be read"):
        SearchResult.read(tmp_path)
    (tmp_path / "best.json").write_text('{"recipe": {"epochz": 3}}')
    with pytest.raises(ParamsError, match=r"best.json holds a recipe that this code does not know \(unknown key epochz"):
        SearchResult.read(tmp_path)


def test_the_flow_searches_in_the_places_of_the_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    called: list[tuple[Any, ...]] = []
    monkeypatch.setattr(tune, "tune", lambda *paths, trials, on_progress: called.append((*paths[:3], trials)))
    with disable_run_logger():
        tuning.search.fn(tmp_path, 7, 0)
    data = tmp_path / "data"
    assert called == [(data / "processed", data / "tuning", data / "reports" / "tuning", 7)]


def test_each_deployment_names_a_flow_and_its_parameters() -> None:
    for deployment in yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]:
        flow = import_object(str(ROOT / deployment["entrypoint"]))
        assert isinstance(flow, Flow)
        assert set(deployment["parameters"]) <= set(flow.parameters.properties)
