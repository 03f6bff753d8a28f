"""Explain one picture; by occlusion it needs no more than recognition does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import cv2
import numpy as np
import numpy.typing as npt

from fer_pipeline.errors import ImageError, ModelError, ParamsError
from fer_pipeline.imaging import UInt8Array, encode_png, to_model_input
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.detection.selection import select_detector
from fer_pipeline.inference.pictures.sources import read_file
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.inference.saliency import draw_heat_map, occlusion_maps
from fer_pipeline.labels import EMOTIONS

if TYPE_CHECKING:
    from fer_pipeline.analysis.explain.faithfulness import Explain

METHODS: Final = ("lime", "gradcam", "occlusion")

_COLUMNS, _TITLE, _GAP = 4, 40, 12  # tiles in a row; pixels


def explain_picture(
    picture: Path,
    model: Path,
    out: Path,
    *,
    method: str,
    crop: bool,
    detector: str | None,
    seed: int,
    number: int = 1,
) -> tuple[str, float]:
    """Explain one face of a picture as a PNG in `out`.

    Returns the emotion and its probability. `crop`: the picture is one face already. `number` is that of the face, from 1, the
    largest first. `detector` None: the model's own. `seed` is that of LIME's samples. Raises `ImageError` where the picture
    cannot be read or has no such face, `ParamsError` for an unknown method, `ModelError` where the method needs a file that the
    model lacks.
    """
    try:
        image = read_file(picture)
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from error
    classifier = EmotionClassifier.load(model, threads=2)
    if not crop:
        selected = select_detector(detector or classifier.info.image_spec.detector, model)
        found = Recognizer(classifier, selected).recognize_cut(image)
        if not found:
            raise ImageError(f"no face was found in {picture}: if it is a cropped face, add --faces crop")
        if number > len(found):
            raise ImageError(f"--face is {number}, {picture} has {len(found)}: `fer predict {picture}` numbers them")
        _, image = found[number - 1]
    face = to_model_input(image, classifier.info.image_spec)
    maps = explainer(method, model, classifier, seed)(face)
    probabilities = classifier.probabilities(face[None])[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(encode_png(draw_panel(face, maps, probabilities)))
    best = int(probabilities.argmax())
    return classifier.info.labels[best], float(probabilities[best])


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
    return lambda image: occlusion_maps(image, classifier.probabilities)


def draw_panel(face: UInt8Array, maps: npt.NDArray[np.float64], probabilities: npt.NDArray[np.float64]) -> UInt8Array:
    """Draw a face and the map of each emotion over it, RGB uint8 (H, W, 3).

    `face` is a model input uint8 (48, 48, 1), `maps` float64 (7, 48, 48), `probabilities` float64 (7,). All maps share one
    colour scale; red supports the emotion, blue is against it.
    """
    scale = max(float(np.abs(maps).max()), 1e-12)
    titles = ["model input", *(f"{name} {100 * p:.1f} %" for name, p in zip(EMOTIONS, probabilities, strict=True))]
    images = [draw_heat_map(face, np.zeros(face.shape[:2])), *(draw_heat_map(face, heat, scale) for heat in maps)]
    side = images[0].shape[0]
    rows = -(-len(images) // _COLUMNS)
    panel = np.full((rows * (side + _TITLE + _GAP) + _GAP, _COLUMNS * (side + _GAP) + _GAP, 3), 255, np.uint8)
    best = 1 + int(probabilities.argmax())
    for index, (title, image) in enumerate(zip(titles, images, strict=True)):
        top, left = (_GAP + (index // _COLUMNS) * (side + _TITLE + _GAP), _GAP + (index % _COLUMNS) * (side + _GAP))
        stroke = 2 if index == best else 1
        cv2.putText(panel, title, (left, top + 26), cv2.FONT_HERSHEY_SIMPLEX, 0.8, (0, 0, 0), stroke, cv2.LINE_AA)
        panel[top + _TITLE : top + _TITLE + side, left : left + side] = image
    return panel
