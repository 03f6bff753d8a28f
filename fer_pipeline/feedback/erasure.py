"""Remove what was made of accepted corrections besides the training data.

That are tables in DVC's cache, of any version, and pages of reports that show their faces.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path, PurePosixPath
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fer_pipeline.schemas import FEEDBACK_NAME
from fer_pipeline.workspace import dvc
from fer_pipeline.workspace.layout import OLD_REVIEW_PAGE, REPORTS

_PARQUET: Final = b"PAR1"
_TEXTS: Final = (".html", ".csv", ".json")


def erase_derived(root: Path, receipts: Collection[str]) -> None:
    """Remove cached tables with a row of these corrections, and reports that name one.

    Earlier versions with such a table can no longer be checked out as a whole. The tables in the workspace itself stay, until
    fetch and preprocess write them anew.
    """
    if not receipts:
        return
    dvc.forget_files(root, lambda file: _has_row(file, receipts))
    for report in sorted((root / REPORTS).glob("*")):
        if any(_names(file, receipts) for file in report.rglob("*") if file.suffix in _TEXTS):
            shutil.rmtree(report)


def remove_old_page(root: Path) -> None:
    """Remove the review page of earlier versions, which outlived what it showed."""
    if (root / OLD_REVIEW_PAGE).exists():
        shutil.rmtree(root / OLD_REVIEW_PAGE)


def _has_row(file: Path, receipts: Collection[str]) -> bool:
    with file.open("rb") as stream:
        if stream.read(len(_PARQUET)) != _PARQUET:
            return False
        stream.seek(0)
        try:
            table = pq.ParquetFile(stream)
            if "name" not in table.schema_arrow.names:
                return False
            for batch in table.iter_batches(columns=["name"]):
                names = batch.filter(pc.starts_with(batch["name"], FEEDBACK_NAME))["name"].to_pylist()
                if any(PurePosixPath(name).stem in receipts for name in names):
                    return True
        except (pa.ArrowException, OSError):  # not written by a stage of ours
            return False
    return False


def _names(file: Path, receipts: Collection[str]) -> bool:
    text = file.read_text(encoding="utf-8", errors="replace")
    return any(receipt in text for receipt in receipts)
