from __future__ import annotations

from pathlib import Path

import pytest

from fer_pipeline.config.tuning import Choices, Range, TuneParams
from fer_pipeline.errors import ToolUnavailableError
from fer_pipeline.experiments.search.study import STUDY_FILE, Search, Stopped

SPACE = {
    "lr": Range(low=0.01, high=0.4, log=True),
    "batch_size": Range(low=16, high=64),
    "ema_decay": Range(low=0.9, high=0.99999),
    "class_weights": Choices(choices=["none", "sqrt"]),
}
PLAN = TuneParams(trials=8, epochs=3, startup_trials=2, min_epochs=2, space=SPACE)


def run(search: Search, value: float, epochs: int = 3) -> None:
    """One trial that reaches the value in its last epoch, in equal steps."""
    search.ask()
    try:
        for epoch in range(1, epochs + 1):
            search.report(epoch, value * epoch / epochs, last=epoch == epochs)
    except Stopped as stopped:
        search.stop(str(stopped))
    else:
        search.complete(value)


def test_values_lie_in_range_and_have_the_type_of_their_key(tmp_path: Path) -> None:
    """Values lie in their ranges and have the type of their key."""
    search = Search(tmp_path, "study", PLAN)
    for _ in range(6):
        values = search.ask()[1]
        search.complete(values["lr"])
        assert 0.01 <= values["lr"] <= 0.4
        assert isinstance(values["batch_size"], int)
        assert 16 <= values["batch_size"] <= 64
        assert values["ema_decay"] < 1  # four digits would round 0.99999 up to it
        assert values["class_weights"] in ("none", "sqrt")


def test_the_same_seed_draws_the_same_trials(tmp_path: Path) -> None:
    """The same seed draws the same trials and a stopped search goes on like one that was not."""

    def draw(search: Search, trials: int) -> None:
        while search.counted < trials:
            search.complete(search.ask()[1]["lr"])

    whole, halves = Search(tmp_path / "a", "study", PLAN), Search(tmp_path / "b", "study", PLAN)
    draw(whole, 6)
    draw(halves, 2)
    halves.ask()  # and the process is killed
    halves = Search(tmp_path / "b", "study", PLAN)
    assert [(left.number, left.state) for left in halves.recover()] == [(2, "failed")]
    draw(halves, 6)
    drawn = [trial.values for trial in halves.trials if trial.state == "complete"]
    assert drawn == [trial.values for trial in whole.trials]
    other = Search(tmp_path / "c", "study", PLAN.model_copy(update={"seed": 1}))
    assert other.ask()[1] != drawn[0]


def test_values_that_kill_their_process_are_given_up(tmp_path: Path) -> None:
    """Values that kill their process again and again are given up."""
    first = Search(tmp_path, "study", PLAN).ask()[1]
    for _ in range(2):
        search = Search(tmp_path, "study", PLAN)
        search.recover()
        assert search.ask()[1] == first
    search = Search(tmp_path, "study", PLAN)
    search.recover()
    assert search.counted == 0
    assert [trial.note for trial in search.trials] == ["its process was killed"] * 3
    values = search.ask()[1]
    assert values != first
    search.complete(values["lr"])
    assert search.recover() == []


def test_a_trial_below_the_median_is_stopped(tmp_path: Path) -> None:
    """A trial below the median is stopped but neither too early nor after its last epoch."""
    search = Search(tmp_path, "study", PLAN)
    for value in (0.3, 0.6):
        run(search, value)
    run(search, 0.1)
    assert search.trials[-1].state == "stopped"
    assert list(search.trials[-1].epochs) == [1, 2]  # min_epochs is 2
    assert "below the median of the complete trials after epoch 2" in search.trials[-1].note
    run(search, 0.9)
    assert [trial.state for trial in search.trials] == ["complete", "complete", "stopped", "complete"]
    best = search.best
    assert best is not None
    assert (best.number, best.value) == (3, 0.9)
    search.ask()
    search.report(1, 0.0, last=True)
    search.complete(0.0)


def test_failed_trials_do_not_count(tmp_path: Path) -> None:
    """Failed trials do not count and the earlier of equals is best."""
    search = Search(tmp_path, "study", PLAN)
    assert search.best is None
    search.ask()
    search.fail("disk full")
    for _ in range(2):
        search.ask()
        search.complete(0.5)
    assert search.counted == 2
    assert search.best is not None
    assert search.best.number == 1
    assert search.trials[0].note == "disk full"


def test_importances_name_the_key_that_decides(tmp_path: Path) -> None:
    """Importances name the key that decides and wait for enough trials."""
    search = Search(tmp_path, "study", PLAN.model_copy(update={"startup_trials": 20}))
    for trial in range(10):
        assert bool(search.importances()) == (trial >= 8)
        values = search.ask()[1]
        search.complete(values["batch_size"] / 100)
    importances = search.importances()
    assert next(iter(importances)) == "batch_size"
    assert sum(importances.values()) == pytest.approx(1)


def test_a_file_that_is_no_study_is_named(tmp_path: Path) -> None:
    (tmp_path / STUDY_FILE).write_text("no database at all, but long enough to have a header " * 20)
    with pytest.raises(ToolUnavailableError, match="cannot be opened as an Optuna study"):
        Search(tmp_path, "study", PLAN)
