"""Sections of a model card: the model, its data, its training, its lineage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fer_pipeline.analysis.card import texts
from fer_pipeline.analysis.card.card import CardMetadata
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
from fer_pipeline.inference.detection.selection import ORIGINS
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.components import BulletList, Section, Table


def card_sections(metadata: CardMetadata) -> tuple[Section, ...]:
    """Build all sections, in reading order."""
    return (
        _what(metadata),
        Section("Intended use", (BulletList(texts.INTENDED),)),
        Section("Uses that are ruled out", (BulletList(texts.RULED_OUT), texts.RULED_OUT_WHY)),
        _data(metadata),
        _protocol(metadata),
        results(metadata),
        per_emotion(metadata),
        calibration(metadata),
        other_data_sets(metadata),
        robustness(metadata),
        explanations(metadata),
        Section("What was not measured", (BulletList(texts.NOT_MEASURED),)),
        limits(metadata),
        _lineage(metadata),
    )


def _what(metadata: CardMetadata) -> Section:
    info, training = metadata.info, metadata.training
    origin = ORIGINS[info.image_spec.detector]
    rows = (
        (
            "network",
            f"{info.network}, {training['parameters']:,} weights, {metadata.megabytes:.1f} MB as ONNX"
            + (", convolutions in 8 bits" if info.precision == "int8" else ""),
        ),
        ("input", f"one face, gray, {info.image_spec.size}x{info.image_spec.size} pixels, uint8"),
        ("output", f"probabilities of {', '.join(EMOTIONS)}"),
        ("faces in pictures are found by", f"{info.image_spec.detector}: {origin.source}"),
        ("that detector's licence and training data", f"{origin.licence}; {origin.training_data}"),
        ("fingerprint", info.fingerprint),
        ("SHA-256 of model.onnx", info.sha256),
    )
    return Section("What it is", (texts.WHAT, Table(("", ""), rows)))


def _data(metadata: CardMetadata) -> Section:
    processed = metadata.processed
    source: Mapping[str, Any] = processed["source"]
    rows = [("source", f"{source['name']}" + (f" ({source['kind']})" if "kind" in source else ""))]
    if files := source.get("files"):
        shown = (f"{file['name']} ({file['size']:,} bytes, SHA-256 {file['sha256'][:12]})" for file in files)
        rows.append(("files", ", ".join(shown)))
    if "data_version" in metadata.info.lineage:
        rows.append(("version of the raw table", metadata.info.lineage["data_version"]))
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


def _protocol(metadata: CardMetadata) -> Section:
    training, params = metadata.training, TrainParams.with_current_keys(metadata.training["params"])
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
        "The test split had no part in that; it was read for the figures below, by the promotion gate, and, for a pretrained "
        "model, to compare its file with the exported one. Figures come from one pass over the plain picture, as in serving, "
        "where nothing else is said."
    )
    if training["profile"] not in ("none", "smoke"):
        used += (
            " The profiles that come with this project were developed by figures of FER-2013's validation rows and PublicTest, "
            "so figures on PublicTest are a little too good."
        )
    signals = _training_signals(params)
    return Section("How it was trained and measured", (learned, *signals, f"{chosen} {used}", texts.INTERVALS))


def _training_signals(params: Mapping[str, Any]) -> tuple[str, ...]:
    """Training signals besides the labels."""
    sources = []
    if params.get("initial_model", "none") != "none":
        sources.append(
            f"Training began with the weights of the pretrained model {params['initial_model']}, which has a card of its own."
        )
    if params.get("distillation_weight"):
        sources.append(
            f"It was distilled online from other networks ({params['teachers_hash']}): their mean probabilities for each "
            f"augmented training picture had {100 * params['distillation_weight']:.0f} % of the loss."
        )
    if params.get("soft_label_weight"):
        sources.append(
            f"{100 * params['soft_label_weight']:.0f} % of the target of each label were stored soft labels "
            f"({params['soft_labels_hash']}), predictions of other networks."
        )
    if params.get("vote_share"):
        sources.append(
            f"{100 * params['vote_share']:.0f} % of the target of a picture were the shares of its FER+ votes, annotations by "
            "ten people that FER-2013 itself does not have; a picture with fewer than three votes for the seven emotions "
            "kept its label."
        )
    if params.get("vote_loss_weight"):
        sources.append("A second head learned the FER+ votes, annotations that FER-2013 itself does not have.")
    return tuple(sources)


def _lineage(metadata: CardMetadata) -> Section:
    spec = metadata.info.image_spec
    rows = (
        *((name.replace("_", " "), value) for name, value in metadata.info.lineage.items()),
        ("image spec", f"{spec.fingerprint}: denoise {spec.denoise}, contrast {spec.contrast}, crop scale {spec.crop_scale:g}"),
        ("reports of other models that were left out", ", ".join(metadata.stale) or "none"),
    )
    return Section("Lineage", (Table(("", ""), rows), "Made by `fer card` from the files of the stages and reports."))
