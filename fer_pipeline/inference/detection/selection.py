"""Select the face detector of a model."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.inference.detection.faces import FaceDetector
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.detection.yunet import YUNET_FILE, YuNetDetector


def select_detector(model_folder: Path) -> FaceDetector:
    """Load the detector of a model folder: YuNet where it holds one, else Haar.

    Raises `ModelError` where the folder's `yunet.onnx` is not a YuNet network.
    """
    yunet = model_folder / YUNET_FILE
    return YuNetDetector(yunet) if yunet.exists() else HaarDetector()
