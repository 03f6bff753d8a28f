"""Who is judged by the gate, and what it decides: contestants, checks, and the decision in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fer_pipeline.metrics.classification import Floats

REIGNING = "is the champion already"
"""Name of the only check where champion and challenger are one version."""


@dataclass(frozen=True)
class Contestant:
    """A model and what it says of the test rows.

    `probabilities` is float (N, 7), calibrated; `latency_ms` the median time of one picture on one thread; `megabytes` the
    size of the ONNX file; `corruption_accuracy` float (M,) how often it was right on each of the pictures drawn for that, over
    all corruptions (None: not measured); `training_known` whether it is known which pictures it was trained on.
    """

    name: str
    synthetic: bool
    probabilities: Floats
    latency_ms: float
    megabytes: float
    corruption_accuracy: Floats | None = None
    training_known: bool = True

    @property
    def kind(self) -> str:
        """What it was trained on."""
        return "synthetic faces" if self.synthetic else "real pictures"


@dataclass(frozen=True)
class Trial:
    """How packaging a challenger ended: with the tag of a bundle that answers, or with what is wrong with it."""

    bundle: str | None
    fault: str | None = None


@dataclass(frozen=True)
class Check:
    """One condition of the gate. `figures` are the numbers behind `observed`, shares as shares and not as points."""

    name: str
    passed: bool
    observed: str
    required: str
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion; it does when all checks passed.

    `unlisted` names those of whom it is not known which pictures they were trained on.
    """

    challenger: str
    champion: str | None
    checks: tuple[Check, ...]
    rows: int = 0
    unlisted: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """True when every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def reigning(self) -> bool:
        """Whether there was nothing to judge: challenger and champion are one version."""
        return self.checks[0].name == REIGNING

    @property
    def figures(self) -> dict[str, float]:
        """The numbers of all checks by name, such as "accuracy_gain_low"; none where nothing was measured."""
        return {name: value for check in self.checks for name, value in check.figures.items()}

    @property
    def judged(self) -> str:
        """A sentence or two on which test rows they were judged on."""
        return judged_on(self.rows, [self.challenger, *([self.champion] if self.champion else [])], self.unlisted)

    def markdown(self) -> str:
        """The decision as a heading and a table."""
        if self.reigning:
            return f"### {self.challenger} is the champion already"
        verdict = "promoted" if self.promoted else "not promoted"
        rows = [
            f"| {check.name} | {'pass' if check.passed else '**fail**'} | {check.observed} | {check.required} |"
            for check in self.checks
        ]
        against = f" against {self.champion}" if self.champion else ", there is no champion yet"
        table = ["| check | result | observed | required |", "|---|---|---|---|", *rows]
        judged = [self.judged, ""] if self.rows else []
        return "\n".join([f"### {self.challenger}: {verdict}{against}", "", *judged, *table])


def judged_on(rows: int, models: Sequence[str], unlisted: Sequence[str]) -> str:
    """A sentence or two on which test rows these models were judged on; `unlisted` are those whose pictures are not known."""
    listed = [model for model in models if model not in unlisted]
    sentences = [f"Judged on {rows:,} test rows."]
    if listed:
        sentences.append(f"None of them is an exact copy of a picture that {' or '.join(listed)} learned from.")
    if unlisted:
        sentences.append(
            f"It is not known which pictures {' and '.join(unlisted)} learned from (no list beside its weights): copies of them "
            "may be among these rows, and speak for it unduly."
        )
    return " ".join(sentences)
