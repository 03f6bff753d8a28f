"""Expectations of the processed table, as Great Expectations suites.

The frames are small, whatever the size of the table: counts and shares that `summary` takes of its rows, here or in Spark. Great
Expectations' own Spark engine would collect every value and row that fails.

Severity "error" is for what breaks training or its figures, "warning" for what a person should know.
"""

from __future__ import annotations

from typing import Any, Final

import great_expectations.expectations as gxe
import pandas as pd

from fer_pipeline import schemas
from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.validate.frames import QualityData
from fer_pipeline.data.validate.row_checks import ROW_CHECKS, VOTES_CHECK
from fer_pipeline.data.validate.summary import MEASURED_SPLITS
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
    count = data.metadata["rows_out"]
    expectations: list[Any] = [
        gxe.ExpectColumnMaxToBeBetween(
            column="rows",
            min_value=count,
            max_value=count,
            **_words("rows", f"{count:,}, as preprocess counted", "No file of the table is missing or cut short."),
        ),
        gxe.ExpectColumnMaxToBeBetween(
            column="id",
            max_value=0,
            **_words("ids", "each id once, so in one split only", "A row in two splits would make every figure too good."),
        ),
    ]
    expectations += [
        gxe.ExpectColumnMinToBeBetween(
            column=check.column, min_value=check.mostly, **_words(check.name, check.expected, check.note, check.severity)
        )
        for check in ROW_CHECKS
        if check is not VOTES_CHECK or data.summary.values[check.column]
    ]
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
