"""Data quality page of the processed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from fer_pipeline import schemas
from fer_pipeline.data.validate.figures import balance_figure, light_figure
from fer_pipeline.data.validate.frames import REFERENCE_SHARES, Check, QualityData, read_images
from fer_pipeline.data.validate.reading import find_rows
from fer_pipeline.data.validate.summary import Summary
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.reports.components import Table, Thumbnail, Tone, bold, code, count, percent, stacked, toned
from fer_pipeline.reports.page import write_page

COLUMNS: Final = ["id", "row", "split", "label", "content_hash"]
"""Columns of the rows that are shown."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of labels with the most-voted FER+ emotion.

    `rows` have votes, no tie, and one of the seven emotions as winner.
    """

    rows: int
    share: float
    by_emotion: dict[str, float]


def write(target: Path, processed: Path, data: QualityData, checks: Sequence[Check], master: str) -> None:
    """Write the self-contained page; `master` is where Spark runs for a large table."""
    shown = data.summary.shown
    chosen = {kind: pd.DataFrame([row for _, row in shown.get(kind, [])], columns=COLUMNS) for kind in ("leaks", "pale")}
    for label in range(len(EMOTIONS)):
        chosen[f"samples-{label}"] = pd.DataFrame([row for _, row in shown.get(f"samples-{label}", [])], columns=COLUMNS)
    members = {
        kind: {member["row"] for group in data.metadata["duplicates"][kind] for member in group}
        for kind in ("conflicting", "largest")
    }
    hashes = frozenset(chosen["leaks"]["content_hash"])
    found = pd.DataFrame(find_rows(data.parts, master, frozenset(set().union(*members.values())), hashes), columns=COLUMNS)
    chosen["seen"] = found[(found["split"] == "train") & found["content_hash"].isin(hashes)]
    for kind, rows in members.items():
        chosen[kind] = found[found["row"].isin(rows)].drop_duplicates("content_hash")
    agreement = _agreement(data.summary)
    every = pd.concat([frame for frame in chosen.values() if len(frame)] or [found])
    images = read_images(processed, every.drop_duplicates("id"))
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
        leaking=data.summary.counted["leaking"],
        near_leaking=data.summary.counted["near_leaking"],
        balance=balance_figure(data.classes),
        light=light_figure(data.summary),
        classes=_class_table(data.classes),
        samples={emotion: _captioned(chosen[f"samples-{label}"], images) for label, emotion in enumerate(EMOTIONS)},
        pairs=_pairs(chosen["leaks"], chosen["seen"], images),
        conflicts=_groups(data.metadata["duplicates"]["conflicting"], chosen["conflicting"], images),
        largest=_groups(data.metadata["duplicates"]["largest"], chosen["largest"], images),
        pale=_captioned(chosen["pale"], images),
        low_contrast=data.summary.counted["low_contrast"],
        bad=_bad_rows(data),
        agreement=agreement,
        agreement_table=_agreement_table(agreement) if agreement else None,
    )


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
        examples = [row for row in data.quarantine if row["reason"] == reason]
        kind = "by choice, see params.yaml" if reason in choices else "fault in the source"
        shown = stacked(code(row["name"]) + f" {row['detail']}" for row in examples)
        rows.append((stacked((reason, toned(kind, "dim"))), count(number), shown))
    return Table(("reason", "rows", "examples"), tuple(rows), align="lrl")


def _agreement(summary: Summary) -> Agreement | None:
    rows = summary.decided.total()
    if not rows:
        return None
    by_emotion = {
        name: summary.agreeing[label] / summary.decided[label] for label, name in enumerate(EMOTIONS) if summary.decided[label]
    }
    return Agreement(rows, summary.agreeing.total() / rows, by_emotion)


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
