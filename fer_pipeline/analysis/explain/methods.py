"""Explanation methods: explain one image, or compare the methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fer_pipeline.analysis.explain.faithfulness import Explain, Faithfulness, measure_faithfulness
from fer_pipeline.analysis.explain.report import examples_figure, panel_figure, write_explanations
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ImageError, ModelError, ParamsError, ToolUnavailableError
from fer_pipeline.imaging import decode, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.faces import FaceDetector
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.recognizer import Recognizer

METHODS: Final = ("lime", "gradcam", "occlusion")


@dataclass(frozen=True)
class MethodComparison:
    """Faithfulness of each method and baseline.

    `absent` holds the reason by method for those that could not run.
    """

    rows: tuple[Faithfulness, ...]
    absent: Mapping[str, str]


def explain_picture(
    picture: Path, model: Path, out: Path, *, method: str, crop: bool, detector: FaceDetector | None, seed: int
) -> tuple[str, float]:
    """Explain the largest face of a picture as a PNG in `out`.

    Returns the emotion and its probability. `crop`: the picture is one face already. `detector` None: the model's own. `seed`
    is that of LIME's samples. Raises `ImageError` where the picture cannot be read or has no face, `ParamsError` for an
    unknown method, `ModelError` where the method needs a file that the model lacks.
    """
    try:
        image = decode(picture.read_bytes())
    except OSError as error:
        raise ImageError(f"{picture} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from error
    classifier = EmotionClassifier.load(model, threads=2)
    if not crop:
        found = Recognizer(classifier, detector or select_detector(model)).largest_face(image)
        if found is None:
            raise ImageError(f"no face was found in {picture}: if it is a cropped face, add --faces crop")
        image = found
    face = to_model_input(image, classifier.info.image_spec)
    maps = explainer(method, model, classifier, seed)(face)
    probabilities = classifier.probabilities(face[None])[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    panel_figure(face, maps, probabilities, method).savefig(out, dpi=110, format="png")
    best = int(probabilities.argmax())
    return classifier.info.labels[best], float(probabilities[best])


def compare_methods(model: Path, processed: Path, out: Path, *, sample_size: int, seed: int) -> MethodComparison:
    """Measure the faithfulness of all methods, and write the report to `out`.

    Raises `ModelError` where model and table have different image specs, or there is no such model or table.
    """
    classifier = EmotionClassifier.load(model, threads=2)
    table = ProcessedTable.open(processed)
    classifier.info.check_image_spec(table.metadata, model=model, table=processed)
    test = table.split("test")
    methods: dict[str, Explain] = {}
    absent: dict[str, str] = {}
    for method in METHODS:
        try:
            methods[method] = explainer(method, model, classifier, seed)
        except (ToolUnavailableError, ModelError) as error:
            absent[method] = str(error).replace(f"{model}/", "")  # a card goes to other machines
    rows = measure_faithfulness(test, classifier.probabilities, methods, sample_size=sample_size, seed=seed)
    examples = examples_figure(test, classifier.probabilities, methods)
    write_explanations(out, rows, examples, classifier.info, sample_size=min(sample_size, len(test)), absent=absent)
    return MethodComparison(rows, absent)


def explainer(method: str, model: Path, classifier: EmotionClassifier, seed: int) -> Explain:
    """Load an explanation method for a model.

    Raises `ParamsError` for an unknown method, `ModelError` for Grad-CAM where the model has no Keras network.
    """
    if method not in METHODS:
        raise ParamsError(f"--method is {method}, expected one of {', '.join(METHODS)}")
    if method == "gradcam":
        from fer_pipeline.analysis.explain.gradcam import GradCam  # TensorFlow, which the others do without
        from fer_pipeline.training.artifacts import KERAS_FILE, read_model

        if not (model / KERAS_FILE).is_file():
            raise ModelError(f"Grad-CAM needs {KERAS_FILE}, which this model does not ship; lime and occlusion do without")
        return GradCam(read_model(model)).maps
    if method == "lime":
        from fer_pipeline.analysis.explain.lime import lime_maps

        return lambda image: lime_maps(image, classifier.probabilities, seed=seed)
    from fer_pipeline.inference.saliency import occlusion_maps

    return lambda image: occlusion_maps(image, classifier.probabilities)
