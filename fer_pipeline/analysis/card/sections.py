"""A model card, section by section: what the model is, its data, its training. The figures are in `card_figures`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fer_pipeline.analysis.card import texts
from fer_pipeline.analysis.card.card import CardFacts
from fer_pipeline.analysis.card.figures import (
    calibration,
    explanations,
    limits,
    other_data_sets,
    per_emotion,
    results,
    robustness,
)
from fer_pipeline.config.training import TrainParams
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.components import BulletList, Section, Table


def card_sections(facts: CardFacts) -> tuple[Section, ...]:
    """All sections, in reading order."""
    return (
        _what(facts),
        Section("Intended use", (BulletList(texts.INTENDED),)),
        Section("Uses that are ruled out", (BulletList(texts.RULED_OUT), texts.RULED_OUT_WHY)),
        _data(facts),
        _protocol(facts),
        results(facts),
        per_emotion(facts),
        calibration(facts),
        other_data_sets(facts),
        robustness(facts),
        explanations(facts),
        Section("What was not measured", (BulletList(texts.NOT_MEASURED),)),
        limits(facts),
        _lineage(facts),
    )


def _what(facts: CardFacts) -> Section:
    info, training = facts.info, facts.training
    rows = (
        ("network", f"{info.network}, {training['parameters']:,} weights, {facts.megabytes:.1f} MB as ONNX"),
        ("input", f"one face, gray, {info.image_spec.size}x{info.image_spec.size} pixels, uint8"),
        ("output", f"probabilities of {', '.join(EMOTIONS)}"),
        ("fingerprint", info.fingerprint),
        ("SHA-256 of model.onnx", info.sha256),
    )
    return Section("What it is", (texts.WHAT, Table(("", ""), rows)))


def _data(facts: CardFacts) -> Section:
    processed = facts.processed
    source: Mapping[str, Any] = processed["source"]
    rows = [("source", f"{source['name']}" + (f" ({source['kind']})" if "kind" in source else ""))]
    if files := source.get("files"):
        shown = (f"{file['name']} ({file['size']:,} bytes, SHA-256 {file['sha256'][:12]})" for file in files)
        rows.append(("files", ", ".join(shown)))
    if "data_version" in facts.info.lineage:
        rows.append(("version of the raw table", facts.info.lineage["data_version"]))
    for key, name in (("rows_in", "rows read"), ("rows_out", "rows kept")):
        if key in processed:
            rows.append((name, f"{processed[key]:,}"))
    for key, name in (("quarantined", "rows quarantined"), ("removed_by_choice", "rows removed by choice")):
        counts: Mapping[str, int] = processed.get(key, {})
        rows.append((name, ", ".join(f"{reason} {count:,}" for reason, count in counts.items()) or "none"))
    if duplicates := processed.get("duplicates"):
        leaks = ", ".join(f"{count:,} of {usage}" for usage, count in duplicates["leaks"].items()) or "none"
        rows += [
            ("redundant copies among the rows read", f"{duplicates['redundant']:,} in {duplicates['groups']:,} groups"),
            ("rows outside training with a copy in training", leaks),
            ("groups of copies with conflicting labels", f"{duplicates['conflicting_groups']:,}"),
        ]
    blocks: list[str | BulletList | Table] = [Table(("", ""), tuple(rows))]
    if splits := processed.get("splits"):
        blocks.append(
            Table(
                ("split", *EMOTIONS, "all"),
                tuple(
                    (split, *(f"{counts.get(name, 0):,}" for name in EMOTIONS), f"{sum(counts.values()):,}")
                    for split, counts in splits.items()
                ),
            )
        )
    if "split_rule" in processed:
        blocks.append(f"Splits: {processed['split_rule']}.")
    if source.get("synthetic"):
        blocks.append("The faces were drawn by a program; there is no person in them.")
    return Section("Data", tuple(blocks))


def _protocol(facts: CardFacts) -> Section:
    training, params = facts.training, TrainParams.with_current_keys(facts.training["params"])
    device = f" ({training['device']})" if "device" in training else ""  # models trained before it was stored lack it
    learned = (
        f"Weights were learned on the training split with the profile {training['profile']}: {training['epochs']} epochs in "
        f"{training['seconds'] / 60:.0f} minutes ({training['images_per_second']:.0f} pictures a second) on the "
        f"{training['backend']} backend of Keras {training['keras_version']}{device}, seed {params['seed']}."
    )
    chosen = (
        "On the validation split the epoch was chosen and the temperature fitted."
        if params.get("early_stopping_patience")
        else "The recipe fixed the number of epochs; on the validation split the temperature was fitted."
    )
    used = (
        "The test split had no part in that; it was read for the figures below, by the promotion gate, and, for a shipped model, "
        "to check its 16-bit file. Figures come from one pass over the plain picture, as in serving, where nothing else is said."
    )
    if training["profile"] not in ("none", "smoke"):
        used += (
            " The profiles that come with this project were developed by figures of FER-2013's validation rows and PublicTest, "
            "so figures on PublicTest are a little too good."
        )
    taught = _taught(params)
    return Section("How it was trained and measured", (learned, *taught, f"{chosen} {used}", texts.INTERVALS))


def _taught(params: Mapping[str, Any]) -> tuple[str, ...]:
    """What it learned from besides the labels."""
    sources = []
    if params.get("distillation_weight"):
        sources.append(
            f"At each step other networks ({params['teachers_hash']}) answered for the very pictures that it saw; their mean "
            f"answer had {100 * params['distillation_weight']:.0f} % of the loss."
        )
    if params.get("soft_label_weight"):
        sources.append(
            f"{100 * params['soft_label_weight']:.0f} % of the target of each label were stored soft labels "
            f"({params['soft_labels_hash']}), answers of other networks."
        )
    if params.get("vote_loss_weight"):
        sources.append("A second head learned the FER+ votes, annotations that FER-2013 itself does not have.")
    return tuple(sources)


def _lineage(facts: CardFacts) -> Section:
    spec = facts.info.image_spec
    rows = (
        *((name.replace("_", " "), value) for name, value in facts.info.lineage.items()),
        ("image spec", f"{spec.fingerprint}: denoise {spec.denoise}, contrast {spec.contrast}, crop scale {spec.crop_scale:g}"),
        ("reports of other models that were left out", ", ".join(facts.stale) or "none"),
    )
    return Section("Lineage", (Table(("", ""), rows), "Made by `fer card` from the files of the stages and reports."))
