"""The two consoles, and the options that name a model and a face detector."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from fer_pipeline.errors import ModelError
from fer_pipeline.workspace.layout import BUNDLE, DETECTORS, DOWNLOADS, PARAMS

if TYPE_CHECKING:
    from fer_pipeline.experiments.registry import Version
    from fer_pipeline.inference.detection.faces import FaceDetector

YUNET = DETECTORS / "yunet.onnx"
ALIASES = ("champion", "challenger", "baseline")

_VERSION = re.compile(r"([\w.-]+)/v?(\d+)")


def chosen_model(model: str | None) -> Path:
    """Folder of the model that a command was asked for.

    It is a shipped name, an alias ("champion") or version ("fer/3") of the registry, or a folder; None: the champion's bundle of
    this workspace, or else the shipped default. Raises `ModelError` where there is no such model.
    """
    from fer_pipeline.inference.pretrained import DEFAULT_MODEL, model_folder, pretrained_folder, pretrained_models
    from fer_pipeline.model_info import ModelInfo

    if model is None and BUNDLE.is_dir():
        folder, origin = BUNDLE, f"the champion in {BUNDLE}"
    elif model is None:
        if DEFAULT_MODEL not in pretrained_models():
            raise ModelError(
                f"no champion in {BUNDLE}: train one with `fer run`, or give the folder of an exported model as --model; no "
                f"model is shipped under the name {DEFAULT_MODEL!r} (shipped are: {', '.join(pretrained_models()) or 'none'})"
            )
        folder, origin = pretrained_folder(DEFAULT_MODEL), f"{DEFAULT_MODEL}, shipped with the package"
    elif model in pretrained_models():
        folder, origin = pretrained_folder(model), f"{model}, shipped with the package"
    elif (version := _registered(model)) is not None:
        folder, origin = _downloaded(version), str(version)
    else:
        folder, origin = model_folder(model), model
    info = ModelInfo.read(folder)
    errors.print(f"model: {origin} ({info.network} {info.fingerprint})", style="dim", markup=False)
    if info.synthetic:
        errors.print(
            "[yellow]note:[/] this model was trained on generated faces: it is for trying the pipeline, not real pictures "
            "(--model fast is the shipped one, trained on real ones)"
        )
    return folder


def model_path(word: str | Path) -> Path:
    """The same for commands that take a folder: a shipped name or a version of the registry; any other word is a path."""
    from fer_pipeline.inference.pretrained import pretrained_models

    model = str(word)  # typer hands over the default of an option as it is
    named = model in pretrained_models() or model in ALIASES or (_VERSION.fullmatch(model) and not Path(model).exists())
    return chosen_model(model) if named else Path(model)


def chosen_detector(file: Path | None) -> FaceDetector | None:
    """YuNet of the file, or else of the workspace or as `fer models fetch yunet` fetched it; None where there is none.

    Raises `ModelError` where the file is not the published one.
    """
    from fer_pipeline.inference.detection.yunet import published_yunet

    found = chosen_detector_file(file)
    return published_yunet(found) if found else None


def chosen_detector_file(file: Path | None) -> Path | None:
    """The file of `chosen_detector`, unchecked."""
    return file or next((place for place in (YUNET, fetched_yunet()) if place.is_file()), None)


def fetched_yunet() -> Path:
    """Where `fer models fetch yunet` puts the file: the user's data folder, XDG_DATA_HOME or ~/.local/share."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "fer-pipeline" / "face_detection_yunet_2023mar.onnx"


def _registered(model: str) -> Version | None:
    reference = _VERSION.fullmatch(model)
    if model not in ALIASES and (reference is None or Path(model).is_dir()):
        return None
    from fer_pipeline.config import params as params_file

    own = params_file.load(PARAMS).promote.model_name  # first: where this is no workspace, MLflow would start a store
    from fer_pipeline.experiments import registry

    return registry.find(reference[1], reference[2]) if reference else registry.find(own, model)


def _downloaded(version: Version) -> Path:
    """The version's exported folder, kept in the workspace; downloaded where it is not there or is of another model."""
    from fer_pipeline.experiments import registry
    from fer_pipeline.model_info import ModelInfo
    from fer_pipeline.workspace.files import replaced_folder

    kept = DOWNLOADS / f"{version.name}-{version.number}"
    try:
        if ModelInfo.read(kept).fingerprint == version.tags[registry.FINGERPRINT_TAG]:
            return kept
    except (ModelError, KeyError):
        pass  # not there yet, damaged, or of an older code: it is fetched anew
    with tempfile.TemporaryDirectory(prefix="fer-version-") as scratch, replaced_folder(kept) as folder:
        shutil.copytree(registry.download_export(version, Path(scratch)), folder, dirs_exist_ok=True)
    return kept


results = Console(highlight=False, soft_wrap=True)
errors = Console(highlight=False, soft_wrap=True, stderr=True)


if TYPE_CHECKING:  # OpenCV and onnxruntime are loaded by the commands, not by `fer --help`
    from fer_pipeline.inference.recognizer import Recognizer

Model = Annotated[
    str | None,
    typer.Option(
        help="Shipped model (`fast`), `champion`, `challenger` or `fer/3` of the registry, or folder of an exported model; "
        f"left out: the champion in {BUNDLE} if there, then `fast`."
    ),
]
Detector = Annotated[
    Path | None,
    typer.Option(
        help=f"face_detection_yunet_2023mar.onnx; left out: {YUNET} if there, then what `fer models fetch yunet` fetched, "
        "then the model's own, then Haar."
    ),
]
Threshold = Annotated[float, typer.Option(help="Probability below which the answer is `uncertain`.", min=0, max=1)]


def chosen_recognizer(model: str | None, detector_file: Path | None, threshold: float) -> Recognizer:
    """The recognizer of a command's options; says on stderr which model it is."""
    from fer_pipeline.inference.recognizer import Recognizer

    return Recognizer.load(chosen_model(model), chosen_detector(detector_file), threshold)


def plain(text: str) -> str:
    """Text that is no markup of rich."""
    from rich.markup import escape

    return escape(text)
