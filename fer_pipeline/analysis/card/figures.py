"""Sections of a model card with figures: results, calibration, robustness, others."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from fer_pipeline.analysis.card import texts
from fer_pipeline.analysis.card.card import CardMetadata
from fer_pipeline.analysis.explain.faithfulness import BASELINES
from fer_pipeline.analysis.external.ferplus import FERPLUS_TITLE
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.reports.components import BulletList, Section, Table, count, percent

_NAMES: Final = {
    "accuracy": "accuracy",
    "accuracy_dedup": "accuracy, pictures without a copy in training or earlier in test",
    "macro_f1": "macro-F1",
    "macro_f1_dedup": "macro-F1, pictures without such a copy",
    "weighted_f1": "weighted F1",
    "top2": "label among the two best",
    "validation_accuracy": "accuracy on validation",
    "ece": "expected calibration error (ECE, 15 bins)",
    "ece_uncalibrated": "the same before temperature scaling",
    "nll": "negative log-likelihood",
    "brier": "Brier score",
    "accuracy_tta": "accuracy with test-time augmentation (mean over ten views), which serving does without",
    "macro_f1_tta": "macro-F1 with test-time augmentation",
    "accuracy_tta_dedup": "accuracy with test-time augmentation, pictures without such a copy",
    "macro_f1_tta_dedup": "macro-F1 with test-time augmentation, pictures without such a copy",
    "validation_accuracy_tta": "accuracy on validation with test-time augmentation",
    "accuracy_at_80": "accuracy of the 80 % most confident answers",
    "accuracy_at_90": "accuracy of the 90 % most confident answers",
    "vote_agreement": "agreement with the emotion of most FER+ votes",
    "vote_agreement_dedup": "the same, pictures without such a copy",
    "vote_macro_f1": "macro-F1 against the emotion of most FER+ votes",
    "vote_divergence": "Kullback-Leibler divergence of the answers from the votes, in nats",
    "vote_total_variation": "distance of the answers from the votes (total variation)",
    "vote_ece": "ECE against the shares of FER+ votes",
    "vote_agreement_at_80": "agreement of the 80 % most confident answers",
    "vote_agreement_at_90": "agreement of the 90 % most confident answers",
    "vote_rows": "pictures with at least five such votes and no tie",
    "ece_tta": "ECE with test-time augmentation and a temperature of its own",
}
_SHARES: Final = (
    *("accuracy", "macro_f1", "weighted_f1", "top2", "validation_accuracy", "accuracy_at_80", "accuracy_at_90"),
    *("vote_agreement", "vote_macro_f1", "vote_agreement_at_80", "vote_agreement_at_90"),
)
_LOST: Final = (("rows_unreadable", "unreadable"), ("rows_without_face", "without a face found"))


def results(metadata: CardMetadata) -> Section:
    """List all figures of evaluate that are not of a single emotion."""
    found = {name: value for name, value in metadata.info.metrics.items() if not _of_one_emotion(name)}
    rows = []
    for key, name in _NAMES.items():
        if key not in found:
            continue
        value, low, high = found.pop(key), found.pop(f"{key}_low", None), found.pop(f"{key}_high", None)
        text = (
            percent(value)
            if key.removesuffix("_dedup").removesuffix("_tta") in _SHARES
            else f"{value:,.0f}"
            if key == "vote_rows"
            else f"{value:.3f}"
        )
        rows.append((name, text, "" if low is None or high is None else _between(low, high)))
    rows += [(key.replace("_", " "), f"{value:,.4g}", "") for key, value in found.items()]
    return Section("Results on the test split", (Table(("figure", "value", "95 % interval"), tuple(rows)),))


def per_emotion(metadata: CardMetadata) -> Section:
    """List recall with its interval, precision and F1 of each emotion."""
    table = metadata.confusion
    precision, f1 = classification.precisions(table), classification.f1_scores(table)
    rows = []
    for index, name in enumerate(EMOTIONS):
        rows_of_class = int(table[index].sum())
        recall = share_interval(int(table[index, index]), rows_of_class) if rows_of_class else None
        rows.append(
            (
                name,
                count(rows_of_class),
                *(("none", "") if recall is None else (percent(recall.estimate), _between(recall.low, recall.high))),
                percent(float(precision[index])),
                percent(float(f1[index])),
            )
        )
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    np.fill_diagonal(shares, 0)
    true, predicted = divmod(int(shares.argmax()), len(EMOTIONS))
    share = percent(float(shares[true, predicted]))
    header = ("emotion", "pictures", "recall", "95 % interval", "precision", "F1")
    rule = "Intervals of recall are by Wilson's rule, which holds for small classes, too."
    confused = f" The most frequent confusion is {EMOTIONS[true]} taken for {EMOTIONS[predicted]} ({share})."
    return Section("Results per emotion", (Table(header, tuple(rows)), rule + (confused if shares.any() else "")))


def calibration(metadata: CardMetadata) -> Section:
    """Describe temperature scaling and the calibration error."""
    fit = metadata.calibration
    by_votes = fit.get("standard") == "votes"  # before the votes could be the standard, it was not stored
    rows = (
        f"{'the FER+ votes of ' if by_votes else ''}{fit['rows']:,} rows of the {fit['fitted_on']} split, where it took the ECE "
        f"{'against the votes ' if by_votes else ''}from {fit['ece_before']:.3f} to {fit['ece_after']:.3f}"
        if "rows" in fit
        else fit["fitted_on"]
    )
    fitted = (
        f"Probabilities are softmax(logits / {metadata.info.temperature:.3f}); the temperature was fitted on {rows}. On test the "
        f"ECE {'against the labels ' if by_votes else ''}is {metadata.info.metrics['ece']:.3f}."
    )
    return Section("Calibration", (f"{fitted} {texts.CALIBRATION}",))


def other_data_sets(metadata: CardMetadata) -> Section:
    """List the external data sets of `fer evaluate-dataset`.

    Says so where none of them has other images than FER-2013.
    """
    if not metadata.external:
        return Section("Other data sets", (_missing(metadata, "external", "fer evaluate-dataset"), texts.ELSEWHERE))
    header = ("data set", "pictures", "accuracy", "95 % interval", "macro-F1", "ECE", "remarks")
    rows = tuple(
        (
            f"{values['data']}, {values['part']}",
            f"{values['rows']:,}",
            percent(values["accuracy"]["estimate"]),
            _between(values["accuracy"]["low"], values["accuracy"]["high"]),
            percent(values["macro_f1"]["estimate"]),
            f"{values['ece']:.3f}",
            _remarks(values),
        )
        for values in metadata.external
    )
    intro = "The model as it is, without training on them. Averages are over the classes that both have."
    notes = tuple(f"{values['data']}: {note}" for values in metadata.external for note in values["notes"])
    blocks = (intro, Table(header, rows, align="lrrrrrl"), *((BulletList(notes),) if notes else ()))
    if all(values["data"] == FERPLUS_TITLE for values in metadata.external):
        return Section("Other data sets", (*blocks, texts.ELSEWHERE))
    return Section("Other data sets", blocks)


def robustness(metadata: CardMetadata) -> Section:
    """List accuracy under each corruption of `fer robustness`."""
    values = metadata.robustness
    if values is None:
        return Section("Robustness", (_missing(metadata, "robustness", "fer robustness"),))
    mean, clean = values["mean_corruption_accuracy"], values["accuracy"]
    rows = tuple(
        (
            f"{name} ({curve['unit']})",
            *(f"{s:g}: {percent(a)}" for s, a in zip(curve["strengths"], curve["accuracy"], strict=True)),
        )
        for name, curve in values["corruptions"].items()
    )
    summary = (
        f"Mean accuracy under corruption {percent(mean['estimate'])} ({_between(mean['low'], mean['high'])}), on the same "
        f"{values['rows']:,} test pictures clean {percent(clean['estimate'])}; {percent(values['kept'], 0)} is kept."
    )
    return Section("Robustness", (summary, Table(("corruption", *(f"strength {n}" for n in range(1, 6))), rows)))


def explanations(metadata: CardMetadata) -> Section:
    """List faithfulness of each method of `fer explain-report`."""
    values = metadata.explanation
    if values is None:
        return Section("Explanations", (_missing(metadata, "explanation", "fer explain-report"),))
    rows = tuple(
        (
            name,
            f"{method['deletion_auc']:.3f}",
            f"{method['insertion_auc']:.3f}",
            "baseline" if name in BASELINES else "yes" if method["trusted"] else "no",
        )
        for name, method in values["methods"].items()
    )
    summary = f"Measured on {values['pictures']:,} test pictures. {texts.FAITHFULNESS}"
    absent = tuple(f"{name} was not measured: {reason}" for name, reason in values["absent"].items())
    table = Table(("method", "deletion AUC", "insertion AUC", "trusted"), rows)
    return Section("Explanations", (summary, table, *((BulletList(absent),) if absent else ())))


def limits(metadata: CardMetadata) -> Section:
    """List the limits, first the emotion with the lowest recall."""
    recalls = classification.recalls(metadata.confusion)
    weakest, best = int(recalls.argmin()), int(recalls.argmax())
    unequal = (
        f"It is unequal between emotions: it finds {percent(float(recalls[best]), 0)} of {EMOTIONS[best]}, but "
        f"{percent(float(recalls[weakest]), 0)} of {EMOTIONS[weakest]}."
    )
    return Section("Limits", (BulletList((unequal, *texts.LIMITS)),))


def _of_one_emotion(name: str) -> bool:
    figure, _, emotion = name.partition("_")
    return figure in ("recall", "precision", "f1") and emotion in EMOTIONS


def _remarks(values: dict[str, Any]) -> str:
    remarks = [f"this set lacks {name}" for name in values["lacking"]]
    remarks += [f"left out: {count:,} {name}" for name, count in values["left_out"].items()]
    remarks += [f"{values[key]:,} {name}" for key, name in _LOST if values[key]]
    return "; ".join(remarks)


def _missing(metadata: CardMetadata, name: str, command: str) -> str:
    stale = " (a report of another model is there)" if any(report.startswith(name) for report in metadata.stale) else ""
    return f"Not measured for this model{stale}: run `{command}`."


def _between(low: float, high: float) -> str:
    return f"{100 * low:.1f} to {100 * high:.1f} %"
