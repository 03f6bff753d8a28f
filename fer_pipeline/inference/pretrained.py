"""The models that come with the package, by name: folders in `fer_pipeline/weights`, checked against the index when used."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fer_pipeline.errors import ModelError
from fer_pipeline.model_info import file_sha256
from fer_pipeline.workspace.layout import MODEL_FOLDERS

WEIGHTS = Path(__file__).resolve().parents[1] / "weights"
"""One folder per model, laid out like an export, and the index."""

INDEX_FILE = "index.json"

DEFAULT_MODEL = "fast"
"""The model that answers where no other is asked for."""


@dataclass(frozen=True)
class ShippedModel:
    """What the index says of a model: SHA-256 by file name, and where it comes from.

    `provenance` holds at least profile, git_commit and data_version; `metrics` the main figures of its metrics.json.
    """

    files: dict[str, str]
    provenance: dict[str, str]
    metrics: dict[str, float]


def shipped_models(weights: Path | None = None) -> dict[str, ShippedModel]:
    """The index by name; empty where no model is shipped. Raises `ModelError` where it is damaged."""
    file = (weights or WEIGHTS) / INDEX_FILE
    if not file.exists():
        return {}
    try:
        values: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {str(name): ShippedModel(**entry) for name, entry in values.items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(f"{file} is no index of shipped models: {error}; install the package again") from error


def model_folder(name_or_folder: str) -> Path:
    """The folder of a shipped model by its name, or else of that path, as it is, or else of that alias in `MODEL_FOLDERS`.

    Raises `ModelError` where it is none of these, or the shipped model is damaged.
    """
    if name_or_folder in shipped_models():
        return shipped_folder(name_or_folder)
    if Path(name_or_folder).is_dir():
        return Path(name_or_folder)
    place = MODEL_FOLDERS.get(name_or_folder)
    if place is None:
        return shipped_folder(name_or_folder)  # which says what there is
    if not place.is_dir():
        raise ModelError(
            f"there is no {name_or_folder} in {place.absolute()}: call this in its folder, or fill it there with "
            f"`fer run`; `fer predict --model {name_or_folder}` asks the registry"
        )
    return place


def shipped_folder(name: str, weights: Path | None = None) -> Path:
    """The folder of a shipped model, every file of it checked.

    Raises `ModelError` where no model is shipped under that name, or a file is missing or not the one that was shipped.
    """
    known = shipped_models(weights)
    if name not in known:
        raise ModelError(
            f"no model is shipped under the name {name!r} (shipped are: {', '.join(known) or 'none'}), and there is no such "
            "folder: train one with `fer run`, or give the folder of an exported model"
        )
    folder = (weights or WEIGHTS) / name
    for file, expected in known[name].files.items():
        try:
            found = file_sha256(folder / file)
        except OSError as error:
            raise ModelError(
                f"{folder / file} of the shipped model {name} cannot be read ({error.strerror}): install again"
            ) from error
        if found != expected:
            raise ModelError(
                f"{folder / file} has SHA-256 {found}, {INDEX_FILE} says {expected}: the shipped model {name} was changed or "
                "damaged, install the package again"
            )
    return folder
