"""Find and verify the pretrained models of the package (`fer_pipeline/weights`)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import TRAINING_IMAGES_FILE, file_sha256
from fer_pipeline.workspace.layout import MODEL_FOLDERS

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
"""One folder per model, laid out like an export, and the index."""

INDEX_FILE = "index.json"

_ONLY_IN_CLONES = ("model.keras", TRAINING_IMAGES_FILE)  # what training and evaluation read; the wheel leaves it out

DEFAULT_MODEL = "fast"
"""The model that is used where none is named."""


@dataclass(frozen=True)
class PretrainedModel:
    """Index entry of a pretrained model.

    `files` holds the SHA-256 by file name, `provenance` at least profile, git_commit and data_version, `metrics` the main
    figures of its metrics.json.
    """

    files: dict[str, str]
    provenance: dict[str, str]
    metrics: dict[str, float]


def pretrained_models(weights: Path | None = None) -> dict[str, PretrainedModel]:
    """Read the index, by model name.

    Empty where the package has no models. Raises `ModelError` where the index is damaged.
    """
    file = (weights or WEIGHTS) / INDEX_FILE
    if not file.exists():
        return {}
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): PretrainedModel(**entry) for name, entry in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is not an index of pretrained models: {error}; install the package again") from error


def model_folder(name_or_folder: str) -> Path:
    """Resolve the folder of a model.

    The argument is the name of a pretrained model, else the path of a folder, else an alias in `MODEL_FOLDERS`. Raises
    `ModelError` where it is none of these, or the pretrained model is damaged.
    """
    if name_or_folder in pretrained_models():
        return pretrained_folder(name_or_folder)
    if Path(name_or_folder).is_dir():
        return Path(name_or_folder)
    folder = MODEL_FOLDERS.get(name_or_folder)
    if folder is None:
        return pretrained_folder(name_or_folder)  # its error lists the models
    if not folder.is_dir():
        raise ModelError(
            f"there is no {name_or_folder} in {folder.absolute()}: call this in its folder, or fill it there with "
            f"`fer run`; `fer predict --model {name_or_folder}` asks the registry"
        )
    return folder


def pretrained_folder(name: str, weights: Path | None = None) -> Path:
    """Return the folder of a pretrained model after checking the SHA-256 of each file.

    Raises `ModelError` where there is no model of that name, or a file is missing or differs from the index.
    """
    known = pretrained_models(weights)
    if name not in known:
        raise ModelError(
            f"no pretrained model is named {name!r} (there are: {', '.join(known) or 'none'}), and there is no such "
            "folder: train one with `fer run`, or give the folder of an exported model"
        )
    folder = (weights or WEIGHTS) / name
    for file, expected in known[name].files.items():
        if file in _ONLY_IN_CLONES and not (folder / file).exists():
            continue
        try:
            found = file_sha256(folder / file)
        except OSError as error:
            raise ModelError(
                f"{folder / file} of the pretrained model {name} cannot be read ({error.strerror}): install again"
            ) from error
        if found != expected:
            raise ModelError(
                f"{folder / file} has SHA-256 {found}, {INDEX_FILE} says {expected}: the pretrained model {name} was changed or "
                "damaged, install the package again"
            )
    return folder
