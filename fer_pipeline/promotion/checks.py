"""Decision rules of the promotion gate, on figures of the same test rows.

Pure: the same figures give the same decision.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import numpy.typing as npt

from fer_pipeline.config.params import PromoteParams
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics.classification import (
    Floats,
    Interval,
    Ints,
    Statistic,
    accuracy,
    macro_f1,
    paired_bootstrap,
    recalls,
    reliability,
)
from fer_pipeline.metrics.intervals import mean_interval
from fer_pipeline.promotion.decision import Candidate, Check, Decision, SmokeTest

RECALL_FALL = "largest fall of a class's recall"
"""Name of the check that no class is given up."""

SERVES = "bundle starts and answers"
"""Name of the check that the challenger can be served."""

SUPERSEDED = "no other became champion meanwhile"
"""Name of the check that fails where another promotion or a roll-back was faster; it is there only then."""


def decide(
    challenger: Candidate, champion: Candidate | None, labels: Ints, params: PromoteParams, smoke_test: SmokeTest | None = None
) -> Decision:
    """Decide whether the challenger becomes champion.

    `labels` is int (N,), of the test rows; `smoke_test` is that of the challenger's bundle. Without a smoke test the decision
    is on all the other checks: it comes before that test, or instead where one of them failed.

    Without a champion, or against one that was trained on synthetic faces, the challenger must beat the most frequent class;
    otherwise it must beat the champion on the same rows (paired bootstrap), and neither a class's recall nor the calibration nor
    the answers to corrupted pictures (where both were measured) may get worse by more than allowed. A model trained on synthetic
    faces never replaces one trained on real pictures.

    The fall of a class's recall counts where it is beyond what is allowed and the one-sided bound of the paired bootstrap tells
    it from luck: of 56 pictures of disgust, equally good models lose 5 points in one case of five. `python -m benchmarks gate`
    says how often equal, better and worse models pass.
    """
    checks = [*_budgets(challenger, labels, params)]
    if champion is None:
        checks.append(_beats_guessing(challenger, labels, params))
    elif challenger.synthetic and not champion.synthetic:
        checks.append(Check("training data", False, challenger.kind, f"{champion.kind}, as the champion's"))
    elif champion.synthetic and not challenger.synthetic:
        checks.append(Check("training data", True, "real pictures", "the champion was trained on synthetic faces"))
        checks.append(_beats_guessing(challenger, labels, params))
    else:
        checks += _beats_champion(challenger, champion, labels, params)
    if smoke_test is not None:
        checks.append(_serves(smoke_test))
    unknown = tuple(one.name for one in (challenger, champion) if one is not None and one.unknown_training_data)
    return Decision(challenger.name, champion.name if champion else None, tuple(checks), len(labels), unknown)


def _budgets(challenger: Candidate, labels: Ints, params: PromoteParams) -> list[Check]:
    ece = reliability(labels, challenger.probabilities).ece
    return [
        Check("calibration (ECE)", ece <= params.max_ece, f"{ece:.3f}", f"at most {params.max_ece:.3f}", {"ece": ece}),
        Check(
            "latency, one picture on one thread",
            challenger.latency_ms <= params.max_latency_ms,
            f"{challenger.latency_ms:.1f} ms",
            f"at most {params.max_latency_ms:.1f} ms",
            {"latency_ms": challenger.latency_ms},
        ),
        Check(
            "size",
            challenger.megabytes <= params.max_megabytes,
            f"{challenger.megabytes:.1f} MB",
            f"at most {params.max_megabytes:.1f} MB",
            {"megabytes": challenger.megabytes},
        ),
    ]


def _beats_guessing(challenger: Candidate, labels: Ints, params: PromoteParams) -> Check:
    guess = np.full_like(labels, np.bincount(labels).argmax())
    gain = _gain(labels, challenger.probabilities.argmax(axis=1), guess, accuracy, params)
    return Check(
        "accuracy above always saying the most frequent class",
        gain.low > 0,
        f"{100 * gain.estimate:+.1f} points [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]",
        "lower bound above 0",
        _named("over_guessing", gain),
    )


def _beats_champion(challenger: Candidate, champion: Candidate, labels: Ints, params: PromoteParams) -> list[Check]:
    new, old = challenger.probabilities.argmax(axis=1), champion.probabilities.argmax(axis=1)
    checks = []
    for name, key, statistic, margin in (
        ("gain in accuracy", "accuracy_gain", accuracy, params.min_accuracy_gain),
        ("gain in macro-F1", "macro_f1_gain", macro_f1, params.min_macro_f1_gain),
    ):
        gain = _gain(labels, new, old, statistic, params)
        observed = f"{100 * gain.estimate:+.2f} points [{100 * gain.low:+.2f}, {100 * gain.high:+.2f}]"
        required = f"lower bound above {100 * margin:+.2f}"
        checks.append(Check(name, gain.low > margin, observed, required, _named(key, gain)))
    checks.append(_recall_fall(labels, new, old, params))
    checks.append(_ece_rise(challenger, champion, labels, params))
    if challenger.corruption_accuracy is not None and champion.corruption_accuracy is not None:
        checks.append(_corruption_drop(challenger.corruption_accuracy, champion.corruption_accuracy, params))
    return checks


def _recall_fall(labels: Ints, new: Ints, old: Ints, params: PromoteParams) -> Check:
    falls = [
        paired_bootstrap(
            labels,
            old,
            new,
            partial(_recall_of, emotion),
            confidence=2 * params.confidence - 1,  # whose lower end is the one-sided bound at `confidence`
            resamples=params.bootstrap,
            seed=params.seed,
        )
        for emotion in range(len(EMOTIONS))
    ]
    refused = [fall.estimate > params.max_recall_drop and fall.low > 0 for fall in falls]
    worst = max(range(len(falls)), key=lambda emotion: (refused[emotion], falls[emotion].estimate))
    return Check(
        RECALL_FALL,
        not any(refused),
        f"{100 * max(falls[worst].estimate, 0.0):.1f} points ({EMOTIONS[worst]}), lower bound {100 * falls[worst].low:+.1f}",
        f"at most {100 * params.max_recall_drop:.1f} points, or lower bound not above 0",
        {"recall_fall": max(falls[worst].estimate, 0.0), "recall_fall_low": falls[worst].low},
    )


def _recall_of(emotion: int, confusions: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    return recalls(confusions)[..., emotion]


def _ece_rise(challenger: Candidate, champion: Candidate, labels: Ints, params: PromoteParams) -> Check:
    new, old = (reliability(labels, one.probabilities).ece for one in (challenger, champion))
    return Check(
        "rise of the calibration error (ECE)",
        new - old <= params.max_ece_rise,
        f"{new - old:+.3f} ({old:.3f} to {new:.3f})",
        f"at most {params.max_ece_rise:+.3f}",
        {"ece_rise": new - old},
    )


def _corruption_drop(new: Floats, old: Floats, params: PromoteParams) -> Check:
    change = mean_interval(new - old, confidence=params.confidence, resamples=params.bootstrap, seed=params.seed)
    return Check(
        f"mean accuracy on corrupted pictures ({len(new):,} test rows)",
        -change.estimate <= params.max_corruption_drop,
        f"{100 * change.estimate:+.1f} points [{100 * change.low:+.1f}, {100 * change.high:+.1f}]",
        f"at least {-100 * params.max_corruption_drop:+.1f} points",
        _named("corrupted_change", change),
    )


def _serves(smoke_test: SmokeTest) -> Check:
    required = "the answer of its model to one picture"
    if smoke_test.fault is None:
        return Check(SERVES, True, str(smoke_test.bundle), required)
    first, *log = smoke_test.fault.strip().splitlines()
    reason = f"{first} {log[-1]}" if log and first.endswith(":") else first  # one cell of a table; the log of the run has it all
    return Check(SERVES, False, reason.replace("|", "/"), required)


def _named(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _gain(labels: Ints, new: Ints, old: Ints, statistic: Statistic, params: PromoteParams) -> Interval:
    return paired_bootstrap(
        labels, new, old, statistic, confidence=params.confidence, resamples=params.bootstrap, seed=params.seed
    )
