"""An Optuna study in a SQLite file, which a killed search goes on with.

Values are drawn by TPE, at random at first; a trial that is worse than the median of the complete ones at the same epoch is
stopped. The sampler is seeded anew for each trial from the seed and the number of trials that count, so that a search that was
killed draws the same values as one that was not.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState
from sqlalchemy.exc import SQLAlchemyError

from fer_pipeline.config.training import TrainParams
from fer_pipeline.config.tuning import Candidates, Choices, Range, TuneParams
from fer_pipeline.errors import ToolUnavailableError

STUDY_FILE = "study.db"

Stopped = optuna.TrialPruned
"""Raised by `Search.report` where the running trial is not worth its remaining epochs."""

COMPLETE, STOPPED, FAILED = "complete", "stopped", "failed"
"""How a trial ended; failed ones do not count."""

MAX_RETRIES = 2
"""How often a trial is started again whose process was killed: one that brings the machine down must not do so for ever."""

MIN_FOR_IMPORTANCES = 8
"""Complete trials below which importances would be noise."""


@dataclass(frozen=True)
class Tried:
    """A trial that ended.

    `values` are of the keys of train, `epochs` the metric after each epoch, `value` the metric at the end (complete ones only).
    """

    number: int
    state: str
    values: dict[str, Any]
    epochs: dict[int, float]
    value: float | None
    seconds: float
    run_id: str | None
    note: str


class Search:
    """The study with this name.

    `ask` starts a trial, `report` its epochs, and one of `complete`, `stop`, `fail` ends it. Raises `ToolUnavailableError`
    where the file cannot be opened as a study.
    """

    def __init__(self, folder: Path, name: str, params: TuneParams) -> None:
        self.name = name
        self.params = params
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            self._study = optuna.create_study(
                storage=optuna.storages.RDBStorage(f"sqlite:///{folder / STUDY_FILE}"),
                study_name=name,
                load_if_exists=True,
                direction="maximize",
                pruner=optuna.pruners.MedianPruner(params.startup_trials, n_warmup_steps=params.min_epochs),
            )
        except (SQLAlchemyError, optuna.exceptions.OptunaError, RuntimeError) as error:
            raise ToolUnavailableError(
                f"{folder / STUDY_FILE} cannot be opened as an Optuna study ({error}): remove it to start the search anew"
            ) from error
        self._trial: optuna.Trial | None = None

    @property
    def run_id(self) -> str | None:
        """The MLflow run of the whole search, where it was noted."""
        return self._study.user_attrs.get("run_id")

    def note_run(self, run_id: str) -> None:
        """Store the MLflow run of the running trial, or else of the search."""
        (self._trial or self._study).set_user_attr("run_id", run_id)

    def recover(self) -> list[Tried]:
        """Mark trials of killed processes as failed, and queue their values again.

        Returns them.
        """
        left = self._study.get_trials(states=(TrialState.RUNNING,))
        for trial in left:
            retries = trial.user_attrs.get("retries", 0)
            if retries < MAX_RETRIES:
                self._study.enqueue_trial(trial.params, user_attrs={"retries": retries + 1})
            self._study.tell(trial.number, state=TrialState.FAIL)
            if retries >= MAX_RETRIES:
                self._study.set_user_attr("given_up", self._given_up + 1)
        numbers = {trial.number for trial in left}
        return [trial for trial in self.trials if trial.number in numbers]

    @property
    def trials(self) -> list[Tried]:
        """All trials that ended, in the order in which they were started."""
        return [self._tried(trial) for trial in self._study.get_trials() if trial.state.is_finished()]

    @property
    def counted(self) -> int:
        """Trials that were complete or stopped."""
        return sum(trial.state != FAILED for trial in self.trials)

    @property
    def best(self) -> Tried | None:
        """The complete trial with the highest value, the earlier one of equals."""
        complete = [trial for trial in self.trials if trial.value is not None]
        return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)

    def ask(self) -> tuple[int, dict[str, Any]]:
        """Start a trial; returns its number and its values.

        Values are rounded to four digits.
        """
        drawn = (self.params.seed, self.counted, self._given_up) if self._given_up else (self.params.seed, self.counted)
        seed = int(np.random.SeedSequence(drawn).generate_state(1)[0])  # values that were given up are not drawn again
        self._study.sampler = optuna.samplers.TPESampler(n_startup_trials=self.params.startup_trials, seed=seed)
        self._trial = self._study.ask({key: _distribution(key, candidates) for key, candidates in self.params.space.items()})
        return self._trial.number, self._rounded(self._trial.params)

    def report(self, epoch: int, value: float, *, last: bool) -> None:
        """Store the metric after an epoch of the running trial.

        Raises `Stopped`, but not after the last epoch.
        """
        assert self._trial is not None
        self._trial.report(value, epoch)
        if not last and self._trial.should_prune():
            raise Stopped(f"below the median of the complete trials after epoch {epoch}")

    def complete(self, value: float) -> Tried:
        """Ends the running trial with its final metric."""
        return self._finish(TrialState.COMPLETE, value=value)

    def stop(self, note: str) -> Tried:
        """Ends the running trial early."""
        return self._finish(TrialState.PRUNED, note=note)

    def fail(self, note: str) -> Tried:
        """Ends the running trial as failed: it does not count."""
        return self._finish(TrialState.FAIL, note=note)

    def importances(self) -> dict[str, float]:
        """Return the share of each key in the variance of the metric, largest first.

        fANOVA (Hutter et al. 2014), seeded. Empty where there are fewer than `MIN_FOR_IMPORTANCES` complete trials, or all have
        the same value.
        """
        values = [trial.value for trial in self.trials if trial.value is not None]
        if len(values) < MIN_FOR_IMPORTANCES or len(set(values)) < 2:
            return {}
        evaluator = optuna.importance.FanovaImportanceEvaluator(seed=self.params.seed)
        return optuna.importance.get_param_importances(self._study, evaluator=evaluator)

    @property
    def _given_up(self) -> int:
        return int(self._study.user_attrs.get("given_up", 0))

    def _finish(self, state: TrialState, *, value: float | None = None, note: str = "") -> Tried:
        assert self._trial is not None
        self._trial.set_user_attr("note", note[:2000])
        ended = self._study.tell(self._trial, value, state)
        self._trial = None
        return self._tried(ended)

    def _tried(self, trial: optuna.trial.FrozenTrial) -> Tried:
        state = {TrialState.COMPLETE: COMPLETE, TrialState.PRUNED: STOPPED, TrialState.FAIL: FAILED}[trial.state]
        return Tried(
            number=trial.number,
            state=state,
            values=self._rounded(trial.params),
            epochs=dict(sorted(trial.intermediate_values.items())),
            value=trial.value if state == COMPLETE else None,
            seconds=(trial.duration or timedelta()).total_seconds(),
            run_id=trial.user_attrs.get("run_id"),
            note=trial.user_attrs.get("note", "its process was killed"),
        )

    def _rounded(self, values: dict[str, Any]) -> dict[str, Any]:
        rounded = {}
        for key, value in values.items():
            candidates = self.params.space[key]
            if isinstance(value, float) and isinstance(candidates, Range):
                value = min(max(float(f"{value:.4g}"), candidates.low), candidates.high)
            rounded[key] = value
        return rounded


def _distribution(key: str, candidates: Candidates) -> BaseDistribution:
    if isinstance(candidates, Choices):
        return CategoricalDistribution(candidates.choices)
    plain: Any = TrainParams()
    for part in key.split("."):
        plain = getattr(plain, part)
    if isinstance(plain, int):
        return IntDistribution(int(candidates.low), int(candidates.high), log=candidates.log)
    return FloatDistribution(candidates.low, candidates.high, log=candidates.log)
