"""Publish an exported model as one of the pretrained models of the package.

Behind `python -m tools.publish_pretrained`; loading is inference/pretrained.py.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fer_pipeline.analysis.card.card import MARKDOWN_FILE, CardMetadata, read_card_metadata, write_card
from fer_pipeline.analysis.card.sections import card_sections
from fer_pipeline.config.params import EvaluateParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import copy_training_images, joined_training_images, load_test
from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.evaluation.report import write_evaluation
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.pretrained import INDEX_FILE, PretrainedModel, pretrained_models
from fer_pipeline.model_info import CARD_FILE, MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.models.onnx_files import store_half
from fer_pipeline.models.quantization import QuantizationCheck, quantize_checked
from fer_pipeline.models.recalibration import THREADS, recalibrated
from fer_pipeline.training.artifacts import HISTORY_FILE, KERAS_FILE, TRAINING_FILE, read_history, read_training
from fer_pipeline.workspace.files import replaced_folder, write_json

TOLERANCE = 0.01
"""Largest allowed change of a logit of a test image by 16-bit weights."""

MIN_AGREEMENT = 0.999
"""Share of test images whose predicted class must stay the same."""

REPORTS_FILE = "reports.json"
"""Content of the card beyond metrics.json: robustness, explanation, other data."""

_DATA_KEYS = ("source", "rows_in", "removed_by_choice", "splits", "split_rule")
_RESERVED = ("champion", "challenger", "baseline")
_MAIN_FIGURES = ("accuracy", "macro_f1", "accuracy_tta", "macro_f1_tta", "accuracy_dedup", "ece")


@dataclass(frozen=True)
class Sources:
    """Folders of a workspace that a model is published from."""

    export: Path
    training: Path
    processed: Path
    reports: Path


@dataclass(frozen=True)
class PublishedModel:
    """A published model: folder and index entry, and how its outputs changed.

    `difference` is the largest change of a logit, `agreement` the share of equal classes on the test split. `quantization` is the
    check on validation of a model published in 8 bits.

    `stale` names reports that the card leaves out, since they were measured for another model.
    """

    folder: Path
    model: PretrainedModel
    difference: float
    agreement: float
    stale: tuple[str, ...]
    quantization: QuantizationCheck | None = None


def publish(
    name: str,
    sources: Sources,
    weights: Path,
    params: EvaluateParams,
    *,
    keras: bool,
    tolerance: float = TOLERANCE,
    int8: bool = False,
) -> PublishedModel:
    """Replace the folder `name` of `weights` and its entry in the index.

    The folder holds model.onnx with weights in 16 bits, or with `int8` computing in 8 bits, model.json with temperature and
    metrics of that file, metrics.json and reports.json, the card as HTML and Markdown, training.json, history.csv and
    training_pictures.npy; with `keras` also model.keras in 32 bits. The card includes robustness, explanation and external
    reports that were measured on the published folder: measure them there, then publish again.

    Raises `ParamsError` for a name that is no plain word, `ModelError` where the model was trained on generated faces or expects
    another image spec, where export and training are of two models or have no list of training images, where 16-bit weights
    change its outputs by more than `tolerance` and `MIN_AGREEMENT` allow, or 8 bits by more than `quantization` allows, or where
    the export computes in 8 bits already and `int8` asks for it once more.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in _RESERVED:
        raise ParamsError(f"the name is {name!r}, expected small letters, digits and -, and none of {', '.join(_RESERVED)}")
    info = ModelInfo.read(sources.export)
    if info.synthetic:
        raise ModelError(f"{sources.export} was trained on generated faces: publish one that was trained on real pictures")
    if int8 and info.precision == "int8":
        raise ModelError(f"{sources.export} computes in 8 bits already, expected float32: publish it without --int8")
    table = ProcessedTable.open(sources.processed)
    info.check_image_spec(table.metadata, model=sources.export, table=sources.processed)
    training = read_training(sources.training)
    _check_one_model(sources, info, training)
    with tempfile.TemporaryDirectory(prefix="fer-ship-") as scratch, replaced_folder(weights / name) as folder:
        check = _quantized(sources.export / MODEL_FILE, folder / MODEL_FILE, table) if int8 else None
        if check is None:
            store_half(sources.export / MODEL_FILE, folder / MODEL_FILE)
        stored = replace(
            info,
            sha256=file_sha256(folder / MODEL_FILE),
            precision=info.precision if check is None else "int8",
            lineage={**info.lineage, "shipped_as": name},
        )
        stored.write(folder)
        test = load_test(table, sources.training)
        before, after = (EmotionClassifier.load(place, THREADS).logits(test.images) for place in (sources.export, folder))
        difference, agreement = float(np.abs(before - after).max()), float((before.argmax(axis=1) == after.argmax(axis=1)).mean())
        if check is None:
            _check_half(difference, agreement, tolerance)
        _, evaluation = recalibrated(
            folder, table.split("validation"), test, params, training=training, history=read_history(sources.training)
        )
        measured = Path(scratch) / "evaluation"
        measured.mkdir()
        write_evaluation(measured, evaluation)
        metadata = read_card_metadata(folder, sources.training, sources.processed, measured, sources.reports)
        write_card(Path(scratch) / "card", metadata, card_sections(metadata))
        for card in (CARD_FILE, MARKDOWN_FILE):
            shutil.copyfile(Path(scratch) / "card" / card, folder / card)
        write_json(folder / REPORTS_FILE, _reports(metadata))
        for file in (TRAINING_FILE, HISTORY_FILE):
            shutil.copyfile(sources.training / file, folder / file)
        copy_training_images(sources.training, folder)
        if keras:
            shutil.copyfile(sources.export / KERAS_FILE, folder / KERAS_FILE)
        model = PretrainedModel(_hashes(folder), _provenance(info, training), _main_figures(evaluation.metrics))
    write_json(
        weights / INDEX_FILE, {n: asdict(entry) for n, entry in sorted({**pretrained_models(weights), name: model}.items())}
    )
    return PublishedModel(weights / name, model, difference, agreement, metadata.stale, check)


def _check_one_model(sources: Sources, info: ModelInfo, training: dict[str, Any]) -> None:
    """Check that export and training folder are of one model.

    Raises `ModelError`.
    """
    recipe = {"network": training["network"], "data": training["source"], "run": training["run_id"] or "none"}
    exported = {"network": info.network, "data": info.data, "run": info.lineage.get("run_id", "none")}
    differing = [
        f"{name} {recipe[name]} in training, {exported[name]} in export" for name in recipe if recipe[name] != exported[name]
    ]
    networks = [folder / KERAS_FILE for folder in (sources.training, sources.export)]
    if all(file.exists() for file in networks) and len({file_sha256(file) for file in networks}) > 1:
        differing.append(f"another {KERAS_FILE}")
    listed, shown = (joined_training_images([folder]) for folder in (sources.training, sources.export))
    if not np.array_equal(listed, shown):
        differing.append(f"{len(listed):,} pictures learned from in training, {len(shown):,} in export, not the same ones")
    if differing:
        raise ModelError(
            f"{sources.training} and {sources.export} are of two models: {'; '.join(differing)}. Give the folder of the training "
            "that was exported as --training, or run `fer export` again"
        )


def _reports(metadata: CardMetadata) -> dict[str, Any]:
    found = {"robustness": metadata.robustness, "explanation": metadata.explanation}
    measured: dict[str, Any] = {name: values for name, values in found.items() if values is not None}
    if metadata.external:
        measured["external"] = list(metadata.external)
    return measured | {"data": {name: metadata.processed[name] for name in _DATA_KEYS if name in metadata.processed}}


def _quantized(source: Path, target: Path, table: ProcessedTable) -> QuantizationCheck:
    shutil.copyfile(source, target)
    check = quantize_checked(target, table.split("train").images, table.split("validation"))
    if not check.holds:
        raise ModelError(f"8 bits change too much: {check}. Publish it without --int8")
    return check


def _check_half(difference: float, agreement: float, tolerance: float) -> None:
    if not (difference < tolerance and agreement >= MIN_AGREEMENT):
        raise ModelError(
            f"with weights in 16 bits a logit moves by up to {difference:.4f} and {100 * agreement:.2f} % of the test pictures "
            f"get the same answer, expected less than {tolerance:g} and at least {100 * MIN_AGREEMENT:g} %: if that many "
            "answers agree, a larger --tolerance is acceptable"
        )


def _hashes(folder: Path) -> dict[str, str]:
    return {file.name: file_sha256(file) for file in sorted(folder.iterdir())}


def _provenance(info: ModelInfo, training: dict[str, Any]) -> dict[str, str]:
    origin = {"network": info.network, "profile": str(training["profile"]), "data": info.data, "exported_sha256": info.sha256}
    return {**origin, **info.lineage}


def _main_figures(metrics: dict[str, float]) -> dict[str, float]:
    return {name: metrics[name] for name in _MAIN_FIGURES if name in metrics}
