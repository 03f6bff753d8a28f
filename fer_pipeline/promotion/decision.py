"""Data classes of the promotion gate: candidates, checks, decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fer_pipeline.metrics.classification import Floats

ALREADY_CHAMPION = "already_champion"
"""Name of the only check where champion and challenger are one version."""


@dataclass(frozen=True)
class Candidate:
    """A model and its predictions on the evaluation set.

    `probabilities` is float (N, 7), calibrated; `latency_ms` the median time of one image on one thread; `megabytes` the size of
    the ONNX file; `corruption_accuracy` float (M,) the share of corruptions under which each of M images was classified
    correctly (None: not measured); `unknown_training_data` is true where the list of its training images is missing.
    """

    name: str
    synthetic: bool
    probabilities: Floats
    latency_ms: float
    megabytes: float
    corruption_accuracy: Floats | None = None
    unknown_training_data: bool = False

    @property
    def kind(self) -> str:
        """What it was trained on."""
        return "synthetic faces" if self.synthetic else "real pictures"


@dataclass(frozen=True)
class SmokeTest:
    """Result of starting a challenger's bundle: its tag, or the fault."""

    bundle: str | None
    fault: str | None = None


@dataclass(frozen=True)
class Check:
    """One condition of the gate.

    `figures` are the numbers behind `observed`, shares as shares and not as points.
    """

    name: str
    passed: bool
    observed: str
    required: str
    figures: Mapping[str, float] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class Decision:
    """Whether the challenger becomes champion; it does when all checks passed.

    `unknown_training_data` names the models whose training images are not known.
    """

    challenger: str
    champion: str | None
    checks: tuple[Check, ...]
    rows: int = 0
    unknown_training_data: tuple[str, ...] = ()

    @property
    def promoted(self) -> bool:
        """True when every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def already_champion(self) -> bool:
        """True where challenger and champion are one version: nothing was measured."""
        return self.checks[0].name == ALREADY_CHAMPION

    @property
    def figures(self) -> dict[str, float]:
        """Return the numbers of all checks by name, such as "accuracy_gain_low".

        Empty where nothing was measured.
        """
        return {name: value for check in self.checks for name, value in check.figures.items()}

    @property
    def evaluated_on(self) -> str:
        """The test rows of the decision, in a sentence or two."""
        return describe_rows(
            self.rows, [self.challenger, *([self.champion] if self.champion else [])], self.unknown_training_data
        )

    def markdown(self) -> str:
        """The decision as a heading and a table."""
        if self.already_champion:
            return f"### {self.challenger} is the champion already"
        verdict = "promoted" if self.promoted else "not promoted"
        rows = [
            f"| {check.name} | {'pass' if check.passed else '**fail**'} | {check.observed} | {check.required} |"
            for check in self.checks
        ]
        against = f" against {self.champion}" if self.champion else ", there is no champion yet"
        table = ["| check | result | observed | required |", "|---|---|---|---|", *rows]
        evaluated_on = [self.evaluated_on, ""] if self.rows else []
        return "\n".join([f"### {self.challenger}: {verdict}{against}", "", *evaluated_on, *table])


def describe_rows(rows: int, models: Sequence[str], unknown: Sequence[str]) -> str:
    """Describe the test rows in a sentence or two.

    `unknown` are the models whose training data is not known.
    """
    listed = [model for model in models if model not in unknown]
    sentences = [f"Evaluated on {rows:,} test rows."]
    if listed:
        sentences.append(f"None of them is an exact copy of a picture that {' or '.join(listed)} was trained on.")
    if unknown:
        sentences.append(
            f"The training pictures of {' and '.join(unknown)} are not known (no list beside the weights): copies of them may be "
            "among these rows and favour that model."
        )
    return " ".join(sentences)
