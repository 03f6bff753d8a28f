"""Find the folder of a model by name, registry alias, registry version or path."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fer_pipeline.config.params import load_params
from fer_pipeline.errors import ModelError
from fer_pipeline.inference.pretrained import DEFAULT_MODEL, model_folder, pretrained_folder, pretrained_models
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.workspace.files import replaced_folder
from fer_pipeline.workspace.layout import BUNDLE, DOWNLOADS, PARAMS

if TYPE_CHECKING:  # MLflow is loaded for models of the registry only
    from fer_pipeline.experiments.registry import Version

ALIASES = ("champion", "challenger", "baseline")

_VERSION = re.compile(r"([\w.-]+)/v?(\d+)")


@dataclass(frozen=True)
class FoundModel:
    """Folder of an exported model, where it came from, and what to tell of the choice."""

    folder: Path
    origin: str
    note: str = ""


def find_model(reference: str | None) -> FoundModel:
    """Find a model in the workspace of the current folder.

    `reference` is a pretrained name ("fast"), an alias ("champion") or version ("fer/3") of the registry, or a folder. None: the
    bundle of the champion, or else the default pretrained model; that one, too, where the champion was trained on drawn faces,
    which answers only where it is named. A version is downloaded once. Raises `ModelError` where there is no such model.
    """
    if reference is None:
        drawn = False
        if BUNDLE.is_dir():
            drawn = ModelInfo.read(BUNDLE).synthetic
            if not drawn:
                return FoundModel(BUNDLE, f"the champion in {BUNDLE}")
        if DEFAULT_MODEL not in pretrained_models():
            raise ModelError(
                f"no champion in {BUNDLE}{' that was trained on real faces' if drawn else ''}: train one with `fer run`, or give "
                f"the folder of an exported model as --model; no pretrained model is named {DEFAULT_MODEL!r} (there are: "
                f"{', '.join(pretrained_models()) or 'none'})"
            )
        note = f"the champion in {BUNDLE} was trained on drawn faces, and answers only where it is named: --model champion"
        return FoundModel(pretrained_folder(DEFAULT_MODEL), f"{DEFAULT_MODEL}, pretrained", note if drawn else "")
    if reference in pretrained_models():
        return FoundModel(pretrained_folder(reference), f"{reference}, pretrained")
    version = _registered(reference)
    if version is not None:
        return FoundModel(_downloaded(version), str(version))
    return FoundModel(model_folder(reference), reference)


def is_model_name(word: str) -> bool:
    """Return whether `word` names a pretrained or registered model, not a path."""
    return word in pretrained_models() or word in ALIASES or bool(_VERSION.fullmatch(word) and not Path(word).exists())


def _registered(reference: str) -> Version | None:
    named = _VERSION.fullmatch(reference)
    if reference not in ALIASES and (named is None or Path(reference).is_dir()):
        return None
    own = load_params(PARAMS).promote.model_name  # first: where this is no workspace, MLflow would start a store
    from fer_pipeline.experiments import registry

    return registry.find(named[1], named[2]) if named else registry.find(own, reference)


def _downloaded(version: Version) -> Path:
    """Return the exported folder of a version, downloaded once.

    It is kept in the workspace, and downloaded again if it is of another model.
    """
    from fer_pipeline.experiments import exports, registry

    kept = DOWNLOADS / f"{version.name}-{version.number}"
    try:
        if ModelInfo.read(kept).fingerprint == version.tags[registry.FINGERPRINT_TAG]:
            return kept
    except (ModelError, KeyError):
        pass  # not there yet, damaged, or of an older code: it is downloaded again
    with replaced_folder(kept) as folder:
        shutil.copytree(exports.local_export(version), folder, dirs_exist_ok=True)
    return kept
