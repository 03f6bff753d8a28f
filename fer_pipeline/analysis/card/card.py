"""Model card: read what it is made of, write it as HTML and Markdown."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.data.table.reader import read_metadata
from fer_pipeline.errors import ModelError
from fer_pipeline.evaluation.stored_metrics import read_metrics
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, ModelInfo
from fer_pipeline.reports.components import BulletList, Section, Table
from fer_pipeline.reports.page import write_page
from fer_pipeline.workspace.files import METRICS_FILE, replaced_folder, write_text

MARKDOWN_FILE = "model_card.md"


@dataclass(frozen=True)
class CardMetadata:
    """Results and metadata that a card is made of.

    What was not measured for this model is None or absent. `confusion` int (7, 7) is that of the test split; `external`
    holds one entry per data set; `stale` names reports that belong to another model.
    """

    info: ModelInfo
    megabytes: float
    training: dict[str, Any]
    processed: dict[str, Any]
    calibration: dict[str, Any]
    confusion: npt.NDArray[np.int64]
    external: tuple[dict[str, Any], ...]
    robustness: dict[str, Any] | None
    explanation: dict[str, Any] | None
    stale: tuple[str, ...]


def read_card_metadata(model: Path, training: Path, processed: Path, evaluation: Path, reports: Path) -> CardMetadata:
    """Read the results of the stages, and the optional reports of this model.

    `model` is the folder of the export. Raises `ModelError` where a file is missing or damaged, or where evaluation and
    export are of different models, `SourceError` where the processed table's metadata cannot be read.
    """
    info = ModelInfo.read(model)
    figures = read_metrics(evaluation)
    if {name: float(value) for name, value in figures.items()} != info.metrics:
        raise ModelError(
            f"{evaluation} was measured for another model than {model / INFO_FILE}: run `fer evaluate` and `fer export`"
        )
    optional = {name: reports / name / METRICS_FILE for name in ("robustness", "explanation")}
    optional |= {f"external/{path.parent.name}": path for path in sorted((reports / "external").glob(f"*/{METRICS_FILE}"))}
    found = {name: _read(path, f"fer {name}") for name, path in optional.items() if path.is_file()}
    fresh = {name: values for name, values in found.items() if values.get("model") == info.fingerprint}
    return CardMetadata(
        info=info,
        megabytes=(model / MODEL_FILE).stat().st_size / 1e6,
        training=_read(training / "training.json", "fer train"),
        processed=read_metadata(processed),
        calibration=_read(evaluation / "calibration.json", "fer evaluate"),
        confusion=_confusion(evaluation / "confusion.csv"),
        external=tuple(values for name, values in fresh.items() if name.startswith("external/")),
        robustness=fresh.get("robustness"),
        explanation=fresh.get("explanation"),
        stale=tuple(sorted(set(found) - set(fresh))),
    )


def write_card(out: Path, metadata: CardMetadata, sections: tuple[Section, ...]) -> None:
    """Replace the folder `out` by model_card.html and model_card.md."""
    title = f"Model card: {metadata.info.network} {metadata.info.fingerprint}"
    notice = (
        "Trained and measured on synthetic faces: it is for trying the pipeline and for no real picture."
        if metadata.info.synthetic
        else None
    )
    with replaced_folder(out) as folder:
        write_page(folder / CARD_FILE, "model_card.html", title=title, notice=notice, sections=sections)
        write_text(folder / MARKDOWN_FILE, markdown(title, notice, sections))


def markdown(title: str, notice: str | None, sections: tuple[Section, ...]) -> str:
    """Render the card as Markdown."""
    lines = [f"# {title}", ""]
    if notice:
        lines += [f"> **{notice}**", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        for block in section.blocks:
            if isinstance(block, BulletList):
                lines += [f"- {item}" for item in block.sentences]
            elif isinstance(block, Table):
                lines += [_row(block.headers), _row(tuple("---:" if side == "r" else "---" for side in block.alignment))]
                lines += [_row(row) for row in block.rows]
            else:
                lines.append(block)
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _read(path: Path, command: str) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `{command}` first") from error
    if not isinstance(values, dict):
        raise ModelError(f"{path} holds no table of values: run `{command}` again")
    return values


def _confusion(path: Path) -> npt.NDArray[np.int64]:
    table = np.zeros((len(EMOTIONS), len(EMOTIONS)), np.int64)
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            for row in csv.DictReader(stream):
                table[EMOTIONS.index(row["actual"]), EMOTIONS.index(row["predicted"])] += 1
    except (OSError, ValueError, KeyError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `fer evaluate` first") from error
    return table
