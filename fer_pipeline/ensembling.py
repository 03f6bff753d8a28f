"""What joins the rooms in an ensemble: exported models merged into one, calibrated and measured like a trained one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from fer_pipeline.errors import ModelError, ParamsError
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.model_info import MODEL_FILE, ModelInfo, file_sha256
from fer_pipeline.modeling.ensemble import merge
from fer_pipeline.modeling.evaluation import measure
from fer_pipeline.modeling.loading import load_facts, load_split
from fer_pipeline.modeling.metrics import METRICS_FILE
from fer_pipeline.outputs import replaced_folder, write_json
from fer_pipeline.params import EvaluateParams

_THREADS = 2


@dataclass(frozen=True)
class Ensemble:
    """An ensemble that was written, and the figures of its members on the same rows, as `fer evaluate` names them."""

    info: ModelInfo
    members: dict[str, dict[str, float]]


def combine(
    members: Mapping[str, Path], processed: Path, out: Path, params: EvaluateParams, lineage: Mapping[str, str]
) -> Ensemble:
    """Replaces the folder `out` by an exported model that answers with the mean of the members' calibrated probabilities.

    Members are folders of exported models by name. A temperature of its own is fitted on the validation split, since a mean of
    calibrated answers is too modest. It has no model.keras; whatever takes an exported model takes it. metrics.json in the
    folder holds the figures on the test split. Raises `ParamsError` for fewer than two members, `ModelError` where they do not
    fit together or the table.
    """
    if len(members) < 2:
        raise ParamsError(f"an ensemble of {len(members)}, expected at least two models")
    source = load_facts(processed)
    classifiers = {name: EmotionClassifier.load(path, _THREADS) for name, path in members.items()}
    infos = [classifier.info for classifier in classifiers.values()]
    for name, info in zip(members, infos, strict=True):
        if asdict(info.image_spec) != source["image_spec"] or info.synthetic != bool(source["source"]["synthetic"]):
            raise ModelError(
                f"{name} expects image spec {asdict(info.image_spec)} and was trained on {_kind(info.synthetic)} faces, "
                f"{processed} holds {source['image_spec']} of {_kind(bool(source['source']['synthetic']))} ones: leave it out"
            )
    validation, test = (load_split(processed, split) for split in ("validation", "test"))
    with replaced_folder(out) as folder:
        merge(
            [(path / MODEL_FILE, info.temperature) for path, info in zip(members.values(), infos, strict=True)],
            folder / MODEL_FILE,
        )
        info = ModelInfo(
            network=f"ensemble of {len(infos)}: {', '.join(info.network for info in infos)}",
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=1.0,
            image_spec=infos[0].image_spec,
            synthetic=infos[0].synthetic,
            data=infos[0].data,
            lineage={**lineage, "members": ", ".join(f"{name} {c.info.fingerprint}" for name, c in classifiers.items())},
        )
        info.write(folder)
        found = {
            name: measure(classifier.logits, validation, test, params, {}, [])
            for name, classifier in {**classifiers, "": EmotionClassifier.load(folder, _THREADS)}.items()
        }
        whole = found.pop("")
        info = replace(info, temperature=float(whole.calibration["temperature"]), metrics=whole.metrics)
        info.write(folder)
        write_json(folder / METRICS_FILE, whole.metrics)
    return Ensemble(info, {name: evaluation.metrics for name, evaluation in found.items()})


def _kind(synthetic: bool) -> str:
    return "generated" if synthetic else "real"
