"""MLflow's model of a version, as code: faces in, probabilities by emotion out.

MLflow stores this file with the version and runs it where the model is loaded: no pickle. Where the package is not installed, it
takes the few modules it needs from the version's artifact `code`.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class FaceModel(PythonModel):
    """The exported network with its image treatment and its temperature."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the network from the artifact `export`."""
        if importlib.util.find_spec("fer_pipeline") is None:
            sys.path.append(context.artifacts["code"])
        from fer_pipeline.inference.classifier import EmotionClassifier

        self._classifier = EmotionClassifier.load(Path(context.artifacts["export"]), threads=2)

    def predict(
        self,
        context: PythonModelContext,
        model_input: np.ndarray,  # MLflow warns where it is another hint
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Classify faces uint8 (N, H, W, 1), gray, or (N, H, W, 3), RGB.

        Each is a picture of one face, cut out around it; it becomes gray and 48x48 and is treated as the model's image spec says.
        Returns the calibrated probabilities, a column for each emotion; rows sum to 1. Raises `ImageError` for another input.
        """
        from fer_pipeline.errors import ImageError
        from fer_pipeline.imaging import to_model_input

        faces = np.asarray(model_input)
        if faces.dtype != np.uint8 or faces.ndim != 4 or faces.shape[3] not in (1, 3) or 0 in faces.shape[1:]:
            raise ImageError(
                f"faces are {faces.dtype} {faces.shape}, expected uint8 (N, height, width, 1) in gray or (N, height, width, 3) "
                "in RGB, with values of 0 to 255: one picture of a face a row"
            )
        info = self._classifier.info
        shaped = [to_model_input(face[:, :, 0] if face.shape[2] == 1 else face, info.image_spec) for face in faces]
        inputs = np.stack(shaped) if shaped else np.zeros((0, info.image_spec.size, info.image_spec.size, 1), np.uint8)
        return pd.DataFrame(self._classifier.probabilities(inputs), columns=list(info.labels))


set_model(FaceModel())
