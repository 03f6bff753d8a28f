"""The data page: what is in the processed table, what is wrong with it, and a limited number of pictures to look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fer_pipeline import schemas
from fer_pipeline.data.validate.frames import MEASURED_SPLITS, REFERENCE_SHARES, Check, QualityData, pictures
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, SYNONYMS
from fer_pipeline.reports.page import write_page

_PER_CLASS: Final = 8
_PAIRS: Final = 12
_PALE: Final = 16
_BAD_ROWS: Final = 4
_COLORS: Final = {"train": "#0b5fad", "validation": "#d9822b", "test": "#3f8f4f"}
_SEED: Final = 0
_FERPLUS_LABELS: Final = [SYNONYMS.get(word, word) for word in FERPLUS_COLUMNS]


@dataclass(frozen=True)
class Sample:
    """A picture and the words below it."""

    image: UInt8Array
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Agreement:
    """How often the most-voted FER+ emotion is the row's label, among rows with votes and without a tie."""

    rows: int
    share: float
    by_emotion: dict[str, float]


def write(target: Path, processed: Path, data: QualityData, checks: Sequence[Check]) -> None:
    """Writes the self-contained page."""
    rows = data.rows
    chosen = {
        "samples": _samples(rows),
        "leaks": rows[rows["split"].isin(MEASURED_SPLITS) & rows["in_train"] & ~rows["augmented"]].head(_PAIRS),
        "pale": rows[rows["flat"] | rows["low_contrast"]].sort_values(["contrast", "row"]).head(_PALE),
    }
    originals = rows[(rows["split"] == "train") & ~rows["augmented"]]
    chosen["seen"] = originals[originals["content_hash"].isin(chosen["leaks"]["content_hash"])]
    for kind in ("conflicting", "largest"):
        members = [member["row"] for group in data.facts["duplicates"][kind] for member in group]
        chosen[kind] = rows[rows["row"].isin(members) & ~rows["augmented"]].drop_duplicates("content_hash")
    images = pictures(processed, pd.concat(chosen.values()).drop_duplicates("id"))
    write_page(
        target,
        "data_quality.html",
        source=data.facts["source"],
        facts=data.facts,
        errors=[check for check in checks if not check.success and check.severity == "error"],
        warnings=[check for check in checks if not check.success and check.severity == "warning"],
        checks=sorted(checks, key=lambda check: (check.success, check.severity != "error")),
        leaking=int((rows["split"].isin(MEASURED_SPLITS) & rows["in_train"]).sum()),
        near_leaking=int((rows["split"].isin(MEASURED_SPLITS) & rows["near_in_train"] & ~rows["in_train"]).sum()),
        balance=_balance_figure(data.classes),
        light=_histograms(rows),
        classes=_class_table(data.classes),
        samples={
            emotion: _captioned(chosen["samples"][chosen["samples"]["label"] == label], images)
            for label, emotion in enumerate(EMOTIONS)
        },
        pairs=_pairs(chosen["leaks"], chosen["seen"], images),
        conflicts=_groups(data.facts["duplicates"]["conflicting"], chosen["conflicting"], images),
        largest=_groups(data.facts["duplicates"]["largest"], chosen["largest"], images),
        pale=_captioned(chosen["pale"], images),
        low_contrast=int((rows["low_contrast"] & ~rows["flat"]).sum()),
        bad=_bad_rows(data),
        agreement=_agreement(rows),
    )


def _samples(rows: pd.DataFrame) -> pd.DataFrame:
    train = rows[rows["split"] == "train"]
    parts = [part.sample(min(_PER_CLASS, len(part)), random_state=_SEED) for _, part in train.groupby("label")]
    return pd.concat(parts) if parts else train


def _captioned(rows: pd.DataFrame, images: dict[str, UInt8Array]) -> list[Sample]:
    return [
        Sample(images[row["id"]], (_emotion(row["label"]), f"{row['id']} {row['split']}"))
        for row in rows.to_dict("records")
        if row["id"] in images
    ]


def _pairs(leaks: pd.DataFrame, seen: pd.DataFrame, images: dict[str, UInt8Array]) -> list[tuple[Sample, Sample]]:
    """Each leaking row beside the first train row with the same picture."""
    first = seen.sort_values("row").drop_duplicates("content_hash").set_index("content_hash")
    pairs = []
    for row in leaks.to_dict("records"):
        if row["content_hash"] in first.index:
            copy = first.loc[row["content_hash"]]
            both = [pd.DataFrame([row]), pd.DataFrame([copy])]
            left, right = (_captioned(frame, images) for frame in both)
            if left and right:
                pairs.append((left[0], right[0]))
    return pairs


def _groups(groups: list[list[dict[str, int]]], kept: pd.DataFrame, images: dict[str, UInt8Array]) -> list[Sample]:
    """One picture for each group of copies in the source, with its rows and labels; groups without a kept row are left out."""
    by_row = {row["row"]: row["id"] for row in kept.to_dict("records")}
    samples = []
    for group in groups:
        row_id = next((by_row[member["row"]] for member in group if member["row"] in by_row), None)
        if row_id in images:
            named = tuple(f"{member['row']}: {_emotion(member['label'])}" for member in group[:5])
            more = (f"and {len(group) - 5} more",) if len(group) > 5 else ()
            samples.append(Sample(images[row_id], named + more))
    return samples


def _bad_rows(data: QualityData) -> list[dict[str, Any]]:
    choices = data.quarantine_facts["removed_by_choice"]
    return [
        {
            "reason": reason,
            "rows": count,
            "choice": reason in choices,
            "examples": data.quarantine[data.quarantine["reason"] == reason].head(_BAD_ROWS).to_dict("records"),
        }
        for reason, count in {**data.quarantine_facts["quarantined"], **choices}.items()
    ]


def _agreement(rows: pd.DataFrame) -> Agreement | None:
    voted = rows[rows["votes"].notna() & ~rows["augmented"] & rows["label"].between(0, len(EMOTIONS) - 1)]
    if voted.empty:
        return None
    votes = np.array(voted["votes"].tolist())  # (N, 10)
    clear = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    words = np.array(_FERPLUS_LABELS)[votes.argmax(axis=1)]
    labels = np.array(EMOTIONS)[voted["label"].to_numpy()]
    judged = clear & np.isin(words, EMOTIONS)
    if not judged.any():
        return None
    same = (words == labels)[judged]
    by_emotion = {name: float(same[labels[judged] == name].mean()) for name in EMOTIONS if (labels[judged] == name).any()}
    return Agreement(int(judged.sum()), float(same.mean()), by_emotion)


def _class_table(classes: pd.DataFrame) -> list[dict[str, Any]]:
    found = {(row["split"], row["emotion"]): (row["rows"], row["share"]) for row in classes.to_dict("records")}
    return [
        {"emotion": emotion, "reference": reference, "splits": [found[split, emotion] for split in schemas.SPLITS]}
        for emotion, reference in zip(EMOTIONS, REFERENCE_SHARES, strict=True)
    ]


def _balance_figure(classes: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 3.4))
    axes = figure.subplots()
    places = np.arange(len(EMOTIONS))
    for number, split in enumerate(schemas.SPLITS):
        shares = classes.loc[classes["split"] == split, "share"].to_numpy()
        axes.bar(places + (number - 1) * 0.26, 100 * shares, width=0.25, label=split, color=_COLORS[split])
    axes.hlines(100 * np.array(REFERENCE_SHARES), places - 0.42, places + 0.42, color="black", linewidth=1.5, label="FER-2013")
    axes.set_xticks(places, EMOTIONS)
    axes.set_ylabel("share of the split in %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=4, loc="lower right", bbox_to_anchor=(1, 1))
    return figure


def _histograms(rows: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(9, 2.8))
    for axes, (column, top, words) in zip(
        figure.subplots(1, 2),
        (("brightness", 255, "brightness (mean gray value)"), ("contrast", 128, "contrast (standard deviation)")),
        strict=True,
    ):
        for split in schemas.SPLITS:
            values = rows.loc[(rows["split"] == split) & ~rows["augmented"], column].to_numpy()
            if len(values):
                weights = np.full(len(values), 100 / len(values))
                axes.hist(values, bins=48, range=(0, top), weights=weights, histtype="step", label=split, color=_COLORS[split])
        axes.set_xlabel(words)
        axes.set_ylabel("% of the split")
        axes.spines[["top", "right"]].set_visible(False)
    figure.axes[0].legend(frameon=False)
    figure.tight_layout()
    return figure


def _emotion(label: int) -> str:
    return EMOTIONS[label] if 0 <= label < len(EMOTIONS) else f"label {label}"
