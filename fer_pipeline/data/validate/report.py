"""Data quality page of the processed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from fer_pipeline import schemas
from fer_pipeline.data.validate.figures import balance_figure, light_figure
from fer_pipeline.data.validate.frames import MEASURED_SPLITS, REFERENCE_SHARES, Check, QualityData, read_images
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS, FERPLUS_COLUMNS, SYNONYMS
from fer_pipeline.reports.components import Table, Thumbnail, Tone, bold, code, count, percent, stacked, toned
from fer_pipeline.reports.page import write_page

_PER_CLASS: Final = 8
_PAIRS: Final = 12
_PALE: Final = 16
_BAD_ROWS: Final = 4
_SEED: Final = 0
_FERPLUS_LABELS: Final = [SYNONYMS.get(word, word) for word in FERPLUS_COLUMNS]


@dataclass(frozen=True)
class Agreement:
    """Agreement of labels with the most-voted FER+ emotion.

    `rows` have votes, no tie, and one of the seven emotions as winner.
    """

    rows: int
    share: float
    by_emotion: dict[str, float]


def write(target: Path, processed: Path, data: QualityData, checks: Sequence[Check]) -> None:
    """Write the self-contained page."""
    rows = data.rows
    chosen = {
        "samples": _samples(rows),
        "leaks": rows[rows["split"].isin(MEASURED_SPLITS) & rows["in_train"] & ~rows["augmented"]].head(_PAIRS),
        "pale": rows[rows["flat"] | rows["low_contrast"]].sort_values(["contrast", "row"]).head(_PALE),
    }
    originals = rows[(rows["split"] == "train") & ~rows["augmented"]]
    chosen["seen"] = originals[originals["content_hash"].isin(chosen["leaks"]["content_hash"])]
    for kind in ("conflicting", "largest"):
        members = [member["row"] for group in data.metadata["duplicates"][kind] for member in group]
        chosen[kind] = rows[rows["row"].isin(members) & ~rows["augmented"]].drop_duplicates("content_hash")
    agreement = _agreement(rows)
    images = read_images(processed, pd.concat(chosen.values()).drop_duplicates("id"))
    write_page(
        target,
        "data_quality.html",
        source=data.metadata["source"],
        metadata=data.metadata,
        errors=[check.name for check in checks if not check.success and check.severity == "error"],
        warnings=[check.name for check in checks if not check.success and check.severity == "warning"],
        checks=_check_table(checks),
        leaks=", ".join(
            f"{count(rows)} {usage} rows also in training" for usage, rows in data.metadata["duplicates"]["leaks"].items()
        ),
        leaking=int((rows["split"].isin(MEASURED_SPLITS) & rows["in_train"]).sum()),
        near_leaking=int((rows["split"].isin(MEASURED_SPLITS) & rows["near_in_train"] & ~rows["in_train"]).sum()),
        balance=balance_figure(data.classes),
        light=light_figure(rows),
        classes=_class_table(data.classes),
        samples={
            emotion: _captioned(chosen["samples"][chosen["samples"]["label"] == label], images)
            for label, emotion in enumerate(EMOTIONS)
        },
        pairs=_pairs(chosen["leaks"], chosen["seen"], images),
        conflicts=_groups(data.metadata["duplicates"]["conflicting"], chosen["conflicting"], images),
        largest=_groups(data.metadata["duplicates"]["largest"], chosen["largest"], images),
        pale=_captioned(chosen["pale"], images),
        low_contrast=int((rows["low_contrast"] & ~rows["flat"]).sum()),
        bad=_bad_rows(data),
        agreement=agreement,
        agreement_table=_agreement_table(agreement) if agreement else None,
    )


def _samples(rows: pd.DataFrame) -> pd.DataFrame:
    train = rows[rows["split"] == "train"]
    parts = [part.sample(min(_PER_CLASS, len(part)), random_state=_SEED) for _, part in train.groupby("label")]
    return pd.concat(parts) if parts else train


def _captioned(rows: pd.DataFrame, images: dict[str, UInt8Array]) -> list[Thumbnail]:
    return [
        _thumbnail(images[row["id"]], _emotion(row["label"]), f"{row['id']} {row['split']}")
        for row in rows.to_dict("records")
        if row["id"] in images
    ]


def _thumbnail(image: UInt8Array, *lines: str) -> Thumbnail:
    return Thumbnail(image, lines[0], lines)


def _pairs(leaks: pd.DataFrame, seen: pd.DataFrame, images: dict[str, UInt8Array]) -> list[tuple[Thumbnail, Thumbnail]]:
    """Pair each leaking row with the first train row of the same image."""
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


def _groups(groups: list[list[dict[str, int]]], kept: pd.DataFrame, images: dict[str, UInt8Array]) -> list[Thumbnail]:
    """Show one image per group of copies in the source, with its rows and labels.

    Groups without a kept row are left out.
    """
    by_row = {row["row"]: row["id"] for row in kept.to_dict("records")}
    samples = []
    for group in groups:
        row_id = next((by_row[member["row"]] for member in group if member["row"] in by_row), None)
        if row_id in images:
            named = tuple(f"{member['row']}: {_emotion(member['label'])}" for member in group[:5])
            more = (f"and {len(group) - 5} more",) if len(group) > 5 else ()
            samples.append(_thumbnail(images[row_id], *named, *more))
    return samples


def _check_table(checks: Sequence[Check]) -> Table:
    """Show all checks, failed ones first."""
    tones: dict[str, tuple[str, Tone]] = {"error": ("fail", "bad"), "warning": ("warn", "warn")}
    return Table(
        ("", "check", "observed", "expected", "why"),
        tuple(
            (
                bold(toned(*(("pass", "good") if check.success else tones[check.severity]))),
                check.name,
                check.observed,
                check.expected,
                toned(check.note, "dim"),
            )
            for check in sorted(checks, key=lambda check: (check.success, check.severity != "error"))
        ),
        align="LLLll",
    )


def _bad_rows(data: QualityData) -> Table:
    """Show the rows that are not in the table, by reason, with examples."""
    choices = data.quarantine_metadata["removed_by_choice"]
    rows = []
    for reason, number in {**data.quarantine_metadata["quarantined"], **choices}.items():
        examples = data.quarantine[data.quarantine["reason"] == reason].head(_BAD_ROWS).to_dict("records")
        kind = "by choice, see params.yaml" if reason in choices else "fault in the source"
        shown = stacked(code(row["name"]) + f" {row['detail']}" for row in examples)
        rows.append((stacked((reason, toned(kind, "dim"))), count(number), shown))
    return Table(("reason", "rows", "examples"), tuple(rows), align="lrl")


def _agreement(rows: pd.DataFrame) -> Agreement | None:
    voted = rows[rows["votes"].notna() & ~rows["augmented"] & rows["label"].between(0, len(EMOTIONS) - 1)]
    if voted.empty:
        return None
    votes = np.array(voted["votes"].tolist())  # (N, 10)
    clear = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    words = np.array(_FERPLUS_LABELS)[votes.argmax(axis=1)]
    labels = np.array(EMOTIONS)[voted["label"].to_numpy()]
    decided = clear & np.isin(words, EMOTIONS)
    if not decided.any():
        return None
    same = (words == labels)[decided]
    by_emotion = {name: float(same[labels[decided] == name].mean()) for name in EMOTIONS if (labels[decided] == name).any()}
    return Agreement(int(decided.sum()), float(same.mean()), by_emotion)


def _agreement_table(agreement: Agreement) -> Table:
    return Table(
        ("label", *agreement.by_emotion),
        (("FER+ agrees", *(percent(share) for share in agreement.by_emotion.values())),),
    )


def _class_table(classes: pd.DataFrame) -> Table:
    """Show rows and share of each emotion in each split, and the shares of FER-2013."""
    found = {(row["split"], row["emotion"]): (row["rows"], row["share"]) for row in classes.to_dict("records")}
    rows = []
    for emotion, reference in zip(EMOTIONS, REFERENCE_SHARES, strict=True):
        cells = [emotion]
        for split in schemas.SPLITS:
            number, share = found[split, emotion]
            cells += [count(number), toned(percent(share), "dim")]
        rows.append((*cells, toned(percent(reference), "dim")))
    headers = ("emotion", *(header for split in schemas.SPLITS for header in (split, "")), "FER-2013")
    return Table(headers, tuple(rows))


def _emotion(label: int) -> str:
    return EMOTIONS[label] if 0 <= label < len(EMOTIONS) else f"label {label}"
