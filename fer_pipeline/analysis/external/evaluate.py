"""How good a model is on data sets that it never saw: figures over the classes that both have, and a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fer_pipeline.analysis.external.datasets import open_set
from fer_pipeline.analysis.external.pictures import ExternalSet
from fer_pipeline.analysis.progress import counted
from fer_pipeline.errors import ImageError, ParamsError, SourceError
from fer_pipeline.evaluation.figures import confusion_figure
from fer_pipeline.imaging import ImageSpec, UInt8Array, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.metrics import classification
from fer_pipeline.metrics.classification import Interval
from fer_pipeline.metrics.intervals import share_interval
from fer_pipeline.model_info import ModelInfo, Predict
from fer_pipeline.reports.components import Table, count, interval
from fer_pipeline.reports.page import write_report

FindFace = Callable[[UInt8Array], UInt8Array | None]
"""From a picture, RGB (H, W, 3) or gray (H, W), to its largest face in the framing of FER-2013; None where there is none."""


_BATCH = 256


@dataclass(frozen=True)
class ExternalResult:
    """What was measured. `left_out` counts pictures by their label that is none of ours; `lacking` are ours that the set lacks.

    `unreadable` and `without_face` name the pictures that gave no answer; they are in none of the figures. `confusion` (7, 7)
    holds free answers, `restricted_accuracy` lets the model choose among the shared classes only.
    """

    data: ExternalSet
    detector: str | None
    shared: tuple[str, ...]
    left_out: dict[str, int]
    lacking: tuple[str, ...]
    unreadable: tuple[str, ...]
    without_face: tuple[str, ...]
    confusion: npt.NDArray[np.int64]
    accuracy: Interval
    macro_f1: Interval
    restricted_accuracy: Interval
    recalls: dict[str, Interval]
    ece: float

    @property
    def rows(self) -> int:
        """Pictures in the figures."""
        return int(self.confusion.sum())


def evaluate_dataset(path: Path, layout: str, model: Path, out: Path, *, part: str | None, faces: str) -> ExternalResult:
    """Measure an exported model on the data set in `path`, and write the report to `out`.

    `layout` and `part` are those of `datasets.open_set`. `faces`: "crop" (each picture is one face), "detect" (the largest face
    of each picture) or "auto" (what the layout says). Raises `ParamsError` for another word, and what `open_set` and `measure`
    raise.
    """
    if faces not in ("auto", "crop", "detect"):
        raise ParamsError(f"--faces is {faces}, expected auto, crop or detect")
    classifier = EmotionClassifier.load(model, threads=2)
    data = open_set(path, layout, part)
    detect = faces == "detect" or (faces == "auto" and data.framing == "picture")
    recognizer = Recognizer(classifier, select_detector(model)) if detect else None
    result = measure(
        data,
        classifier.probabilities,
        classifier.info.image_spec,
        find_face=recognizer.largest_face if recognizer else None,
        detector=recognizer.detector.name if recognizer else None,
    )
    write_external(out, result, classifier.info)
    return result


def measure(
    data: ExternalSet,
    predict: Predict,
    spec: ImageSpec,
    *,
    find_face: FindFace | None = None,
    detector: str | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> ExternalResult:
    """Figures of a model on the pictures of another data set.

    With `find_face` the largest face is cut out of each picture; `detector` is its name for the report. Without, each picture is
    one face. Raises `SourceError` where no picture of a shared class can be measured.
    """
    ours = [picture for picture in data.pictures if picture.label in EMOTIONS]
    left_out = Counter(picture.label for picture in data.pictures if picture.label not in EMOTIONS)
    inputs: list[UInt8Array] = []
    answers: list[npt.NDArray[np.float64]] = []
    labels: list[int] = []
    unreadable: list[str] = []
    without_face: list[str] = []
    for picture in counted(ours, data.title):
        try:
            image = picture.read()
            face = find_face(image) if find_face else image
        except ImageError:
            unreadable.append(picture.name)
            continue
        if face is None:
            without_face.append(picture.name)
            continue
        inputs.append(to_model_input(face, spec))
        labels.append(EMOTIONS.index(picture.label))
        if len(inputs) == _BATCH:  # keeps the memory small on sets of any size
            answers.append(predict(np.stack(inputs)))
            inputs.clear()
    if inputs:
        answers.append(predict(np.stack(inputs)))
    if not answers:
        raise SourceError(
            f"none of the {len(ours):,} pictures of {data.title} could be measured: {len(unreadable):,} are unreadable, "
            f"in {len(without_face):,} no face was found"
        )
    return _result(
        data, detector, np.array(labels), np.concatenate(answers), dict(left_out), unreadable, without_face, resamples, seed
    )


def write_external(out: Path, result: ExternalResult, info: ModelInfo) -> dict[str, Any]:
    """The content of metrics.json. Replaces the folder `out`: metrics.json, report.html."""
    values: dict[str, Any] = {
        "data": result.data.title,
        "part": result.data.part,
        "model": info.fingerprint,
        "network": info.network,
        "synthetic": info.synthetic,
        "detector": result.detector or "none",
        "shared": list(result.shared),
        "lacking": list(result.lacking),
        "left_out": result.left_out,
        "notes": list(result.data.notes),
        "rows": result.rows,
        "rows_unreadable": len(result.unreadable),
        "rows_without_face": len(result.without_face),
        "ece": result.ece,
        "accuracy": asdict(result.accuracy),
        "macro_f1": asdict(result.macro_f1),
        "restricted_accuracy": asdict(result.restricted_accuracy),
        "recall": {name: asdict(interval) for name, interval in result.recalls.items()},
    }
    support = result.confusion.sum(axis=1)
    write_report(
        out,
        "external.html",
        values,
        result=result,
        info=info,
        rows_used=_rows_used(result),
        recalls=Table(
            ("emotion", "pictures", "recall (95 %)"),
            tuple((name, count(support[EMOTIONS.index(name)]), interval(recall)) for name, recall in result.recalls.items()),
        ),
        figure=confusion_figure(result.confusion),
        majority={"name": EMOTIONS[int(support.argmax())], "share": float(support.max() / support.sum())},
    )
    return values


def _rows_used(result: ExternalResult) -> Table:
    """Classes and pictures that are in the figures, and those that are not."""
    lacking = (
        f"{', '.join(result.lacking)}. They are in no average; an answer of one of them counts as wrong, except in “among shared "
        "classes”."
    )
    left_out = ", ".join(f"{name} ({rows:,} pictures)" for name, rows in result.left_out.items())
    rows = [
        ("classes that both have", ", ".join(result.shared)),
        ("classes of the model that this set lacks", lacking if result.lacking else "none"),
        ("pictures of this set without a label of the model", f"{left_out}. They are in no figure." if left_out else "none"),
        ("pictures that cannot be read", _unused(result.unreadable)),
    ]
    if result.detector:
        rows.append(("pictures without a face found", _unused(result.without_face)))
    return Table(("", ""), tuple(rows))


def _unused(names: tuple[str, ...], most: int = 12) -> str:
    if not names:
        return "0"
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return f"{len(names):,}: {', '.join(names[:most])}{more}. They are in no figure."


def _result(
    data: ExternalSet,
    detector: str | None,
    labels: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    left_out: dict[str, int],
    unreadable: list[str],
    without_face: list[str],
    resamples: int,
    seed: int,
) -> ExternalResult:
    there = np.unique(labels)
    among_shared = there[probabilities[:, there].argmax(axis=1)]
    free = classification.confusion(labels, probabilities.argmax(axis=1))
    restricted = classification.confusion(labels, among_shared)

    return ExternalResult(
        data=data,
        detector=detector,
        shared=tuple(EMOTIONS[i] for i in there),
        left_out=left_out,
        lacking=tuple(name for i, name in enumerate(EMOTIONS) if i not in there),
        unreadable=tuple(unreadable),
        without_face=tuple(without_face),
        confusion=free,
        accuracy=share_interval(int(np.trace(free)), len(labels)),
        macro_f1=classification.bootstrap(
            free, lambda tables: classification.f1_scores(tables)[..., there].mean(axis=-1), resamples=resamples, seed=seed
        ),
        restricted_accuracy=share_interval(int(np.trace(restricted)), len(labels)),
        recalls={EMOTIONS[i]: share_interval(int(free[i, i]), int(free[i].sum())) for i in there},
        ece=classification.reliability(labels, probabilities).ece,
    )
