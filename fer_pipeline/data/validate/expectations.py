"""Expectations of the processed table, as Great Expectations suites.

Severity "error" is for what breaks training or its figures, "warning" for what a person should know.
"""

from __future__ import annotations

from typing import Any, Final

import great_expectations.expectations as gxe
import pandas as pd

from fer_pipeline import schemas
from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.validate.frames import MEASURED_SPLITS, QualityData
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.labels import EMOTIONS

ERROR: Final = "critical"
WARNING: Final = "warning"


def suites(data: QualityData, params: ValidateParams) -> dict[str, list[Any]]:
    """List the expectations of each frame of `QualityData`."""
    return {"fields": _fields(), "rows": _rows(data), "classes": _classes(params), "table": _table(data.table, params)}


def _fields() -> list[Any]:
    wanted = [f"{field.name}: {field.type}" for field in schemas.PROCESSED]
    return [
        gxe.ExpectColumnDistinctValuesToEqualSet(
            column="field",
            value_set=wanted,
            **_words("columns and types", "as in schemas.PROCESSED", "Training reads these columns with these types."),
        )
    ]


def _rows(data: QualityData) -> list[Any]:
    expectations = [
        gxe.ExpectTableRowCountToEqual(
            value=data.metadata["rows_out"],
            **_words(
                "rows", f"{data.metadata['rows_out']:,}, as preprocess counted", "No file of the table is missing or cut short."
            ),
        ),
        gxe.ExpectColumnValuesToBeUnique(
            column="id",
            **_words("ids", "each id once, so in one split only", "A row in two splits would make every figure too good."),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="nulls",
            value_set=[0],
            **_words("required values", "no nulls in required columns", "Only usage and votes may be null."),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="label",
            value_set=list(range(len(EMOTIONS))),
            **_words("labels", f"0..{len(EMOTIONS) - 1}", f"Index into {', '.join(EMOTIONS)}."),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="split",
            value_set=list(schemas.SPLITS),
            **_words("splits", ", ".join(schemas.SPLITS), "The three split names."),
        ),
        gxe.ExpectColumnValuesToBeInSet(
            column="image_length",
            value_set=[FACE_SIZE**2],
            **_words("picture size", f"{FACE_SIZE**2:,} bytes ({FACE_SIZE}x{FACE_SIZE} gray)", "What each network takes in."),
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="content_hash",
            regex="^[0-9a-f]{32}$",
            **_words("content hashes", "32 hex digits", "Copies are found by them."),
        ),
        gxe.ExpectColumnValuesToMatchRegex(
            column="perceptual_hash",
            regex="^[0-9a-f]{16}$",
            **_words("perceptual hashes", "16 hex digits", "Near-equal pictures are found by them."),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="brightness", min_value=0, max_value=255, **_words("brightness of each picture", "0..255", "Mean gray value.")
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="contrast",
            min_value=0,
            max_value=127.5,
            **_words("contrast of each picture", "0..127.5", "Standard deviation."),
        ),
    ]
    if data.rows["votes_sum"].notna().any():
        expectations.append(
            gxe.ExpectColumnValuesToBeBetween(
                column="votes_sum",
                min_value=8,
                max_value=10,
                mostly=0.99,
                **_words("FER+ votes", "8..10 votes in 99 % of rows", "Ten people judged each picture.", WARNING),
            )
        )
    return expectations


def _classes(params: ValidateParams) -> list[Any]:
    few, far = params.min_rows_per_class, params.max_class_deviation
    return [
        gxe.ExpectColumnValuesToBeBetween(
            column="rows",
            min_value=1,
            **_words(
                "every class in every split", "at least 1 row", "A class that is not there can be neither learned nor measured."
            ),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="rows",
            min_value=few,
            **_words("rows per class", f"at least {few} in each split", "Figures of smaller classes are mostly chance.", WARNING),
        ),
        gxe.ExpectColumnValuesToBeBetween(
            column="deviation",
            max_value=far,
            **_words(
                "class balance",
                f"each share within {far:.1%} of its share in FER-2013",
                "With another balance, accuracy cannot be compared with published figures.",
                WARNING,
            ),
        ),
    ]


def _table(table: pd.DataFrame, params: ValidateParams) -> list[Any]:
    low, high = params.brightness_range

    def at_most(column: str, bound: float, name: str, note: str, severity: str = WARNING) -> Any:
        words = _words(name, f"at most {bound:.1%}", note, severity)
        return gxe.ExpectColumnMaxToBeBetween(column=column, max_value=bound, **words)

    leaks = [
        at_most(
            f"leak_share_{split}", params.max_leak_share, f"{split} rows also in train", "Copies that training has seen flatter."
        )
        for split in MEASURED_SPLITS
    ]
    light = [
        gxe.ExpectColumnMeanToBeBetween(
            column=f"brightness_{split}",
            min_value=low,
            max_value=high,
            **_words(f"mean brightness of {split}", f"{low:g}..{high:g}", "Darker or brighter sets need another look.", WARNING),
        )
        for split in schemas.SPLITS
        if table[f"brightness_{split}"].notna().all()
    ]
    contrast = [
        gxe.ExpectColumnMeanToBeBetween(
            column=f"contrast_{split}",
            min_value=params.min_mean_contrast,
            **_words(f"mean contrast of {split}", f"at least {params.min_mean_contrast:g}", "Faces need some contrast.", WARNING),
        )
        for split in schemas.SPLITS
        if table[f"contrast_{split}"].notna().all()
    ]
    return [
        gxe.ExpectColumnMinToBeBetween(
            column="classes_in_train",
            min_value=len(EMOTIONS),
            **_words("classes in train", f"all {len(EMOTIONS)}", "The network has an output for each of them."),
        ),
        gxe.ExpectColumnMaxToBeBetween(
            column="augmented_outside_train",
            max_value=0,
            **_words("augmented copies", "in train only", "Validation and test are measured on real pictures."),
        ),
        at_most("quarantine_share", params.max_quarantine_share, "rows in quarantine", "Damaged rows; a few are usual.", ERROR),
        at_most("duplicate_share", params.max_duplicate_share, "redundant copies", "Byte-identical pictures in the source."),
        at_most(
            "conflict_share", params.max_conflict_share, "rows with conflicting labels", "The same picture under several labels."
        ),
        at_most("flat_share", params.max_flat_share, "flat pictures", "One single gray value, no face."),
        *leaks,
        *light,
        *contrast,
    ]


def _words(name: str, expected: str, note: str, severity: str = ERROR) -> dict[str, Any]:
    return {"severity": severity, "notes": note, "meta": {"name": name, "expected": expected}}
