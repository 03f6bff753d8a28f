"""Write exported models to data/bundle and data/challenger.

Services take them from there.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, TRAINING_IMAGES_FILE, ModelInfo
from fer_pipeline.workspace.files import replaced_folder
from fer_pipeline.workspace.layout import BUNDLE, CHALLENGER, DETECTORS
from fer_pipeline.workspace.locks import exclusive

_WAIT_SECONDS = 10.0


@contextmanager
def replaced_bundle(model_folder: Path, root: Path, names: Mapping[str, str] | None = None) -> Iterator[None]:
    """Write a model aside, and make it data/bundle when the block ends well.

    `names` (name, version, alias of the registry) join the lineage in model.json. Raises `ModelError` for a damaged model.
    """
    ModelInfo.read(model_folder)
    with replaced_folder(root / BUNDLE) as bundle:
        copy_model(bundle, model_folder, root, names)
        yield


def write_challenger(model_folder: Path, root: Path, names: Mapping[str, str] | None = None) -> None:
    """Make an exported model data/challenger, for services in shadow mode.

    `names` as for `replaced_bundle`.
    """
    ModelInfo.read(model_folder)
    target = root / CHALLENGER
    with exclusive(target, "writing the challenger", _WAIT_SECONDS), replaced_folder(target) as folder:
        copy_model(folder, model_folder, root, names)


def remove_challenger(root: Path) -> None:
    """Remove data/challenger. Raises `ModelError` where it is not there."""
    target = root / CHALLENGER
    with exclusive(target, "removing the challenger", _WAIT_SECONDS):
        if not target.is_dir():
            raise ModelError(f"there is no challenger in {target} to remove; `fer shadow start` puts one there")
        shutil.rmtree(target)


def copy_model(target: Path, model_folder: Path, root: Path, names: Mapping[str, str] | None) -> None:
    """Copy the files of an exported model that a service needs.

    These are model.onnx, model.json, card and list of training images, and the workspace's YuNet where it has one. Raises
    `ModelError` where the model's image spec names YuNet and the workspace has none.
    """
    info = ModelInfo.read(model_folder)
    for name in (MODEL_FILE, INFO_FILE):
        shutil.copy2(model_folder / name, target / name)
    if names:
        replace(info, lineage={**info.lineage, **names}).write(target)
    for name in (CARD_FILE, TRAINING_IMAGES_FILE):  # the latter for the drift check
        if (model_folder / name).exists():
            shutil.copy2(model_folder / name, target / name)
    detector = root / DETECTORS / YUNET_FILE
    if detector.exists():
        shutil.copy2(detector, target / YUNET_FILE)
    elif info.image_spec.detector == "yunet":
        raise ModelError(
            f"export.detector is yunet, and {detector} is missing: `fer models fetch yunet --to {DETECTORS / YUNET_FILE}`, or "
            "export with another detector"
        )
