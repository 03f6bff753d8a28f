"""Metadata of a processed table: what preprocess counted, and facts.json."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.errors import FerError
from fer_pipeline.imaging import ImageSpec
from fer_pipeline.workspace.files import write_json


@dataclass(frozen=True)
class PreprocessMetadata:
    """Metadata of a processed table: counts of rows, duplicates, image spec.

    Raises `FerError` unless `rows_in + augmented == rows_out + quarantined + removed_by_choice`. `quarantined` and
    `removed_by_choice` count rows by reason, `splits` the rows of each split by emotion.
    """

    source: dict[str, Any]
    rows_in: int
    rows_out: int
    augmented: int
    quarantined: dict[str, int]
    removed_by_choice: dict[str, int]
    splits: dict[str, dict[str, int]]
    split_rule: str
    duplicates: dict[str, Any]
    image_spec: ImageSpec
    seconds: float

    def __post_init__(self) -> None:
        left_out = sum(self.quarantined.values()) + sum(self.removed_by_choice.values())
        if self.rows_in + self.augmented != self.rows_out + left_out:
            raise FerError(
                f"rows do not add up: {self.rows_in} in + {self.augmented} augmented, but {self.rows_out} out + {left_out} left "
                f"out ({self.quarantined}, {self.removed_by_choice}): this is a fault of fer-pipeline, please report it"
            )

    def summary(self) -> str:
        """Return one line for the terminal."""
        splits = ", ".join(f"{sum(by_label.values()):,} {split}" for split, by_label in self.splits.items())
        return (
            f"{self.rows_in:,} rows in, {self.rows_out:,} out ({splits}; {self.augmented:,} augmented), "
            f"{sum(self.quarantined.values()):,} quarantined, {sum(self.removed_by_choice.values()):,} removed by choice, "
            f"{self.seconds:.1f} s"
        )


def write_metadata(metadata: PreprocessMetadata, processed: Path, quarantine: Path) -> None:
    """Write facts.json into the folders of the processed table and the quarantine."""
    values = asdict(metadata)
    del values["seconds"]  # equal input must give equal files, or DVC would train again
    values["image_spec"] = metadata.image_spec.table_values()
    write_json(processed / "facts.json", {**values, "image_spec_fingerprint": metadata.image_spec.fingerprint})
    write_json(
        quarantine / "facts.json",
        {"rows_in": metadata.rows_in, "quarantined": metadata.quarantined, "removed_by_choice": metadata.removed_by_choice},
    )
