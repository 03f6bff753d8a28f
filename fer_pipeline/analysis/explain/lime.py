"""LIME maps: a linear model of the answer as parts of the face are hidden."""

from __future__ import annotations

import contextlib
import io
from typing import Final

import numpy as np
from lime.lime_image import LimeImageExplainer

from fer_pipeline.analysis.explain.faithfulness import Maps
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import Predict

CELL: Final = 8
"""Side of a superpixel of LIME in pixels: 36 of them, about the size of an eye, where outlines found by colour fail at 48 px."""

_BATCH = 250


def lime_maps(image: UInt8Array, predict: Predict, *, samples: int = 1000, seed: int = 0) -> Maps:
    """Compute LIME maps float64 (7, 48, 48) of one model input (Ribeiro et al. 2016).

    `image` is uint8 (48, 48, 1). A map holds the weight of each cell of `CELL` pixels in a linear model of the class's
    probability when cells are hidden in mean gray.
    """
    gray = image[:, :, 0]
    rows, columns = np.indices(gray.shape) // CELL
    cells = rows * (FACE_SIZE // CELL) + columns
    explainer = LimeImageExplainer(feature_selection="none", random_state=seed)
    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar cannot be switched off
        answer = explainer.explain_instance(
            np.repeat(gray[:, :, np.newaxis], 3, axis=2),
            lambda images: predict(np.ascontiguousarray(images[..., :1])),
            labels=range(len(EMOTIONS)),
            top_labels=None,
            hide_color=round(float(gray.mean())),
            num_samples=samples,
            batch_size=_BATCH,
            segmentation_fn=lambda _: cells,
            random_seed=seed,
        )
    weights = np.zeros((len(EMOTIONS), cells.max() + 1))
    for label, pairs in answer.local_exp.items():
        for cell, weight in pairs:
            weights[label, cell] = weight
    return weights[:, cells]
