"""A loaded model: its recognizer, and the bytes of its files.

The bytes are kept because the folder may change while the model is served.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.inference.model_files import PORTABLE_FILES, PortableModel
from fer_pipeline.inference.recognizer import Recognizer

FileStamps = tuple[tuple[str, int, int, int], ...]
"""Name, inode, modification time in ns and size in bytes of each file: differs once a folder's content changes."""


@dataclass(frozen=True)
class LoadedModel:
    """One model; `stamps` are those of its folder just before it was read."""

    recognizer: Recognizer
    files: PortableModel
    stamps: FileStamps

    @classmethod
    def read(cls, folder: Path, detector: str | None = None) -> LoadedModel:
        """Load an exported model and run it once on a face and on a picture.

        `detector` is a name or file as for `selection.find_detector`; None is the one of the model's image spec.

        Raises `ModelError` where files are missing or damaged, or its answers are no probabilities.
        """
        stamps = file_stamps(folder)
        files = PortableModel.read(folder, detector)
        recognizer = files.recognizer()
        _smoke_test(recognizer, folder)
        return cls(recognizer, files, stamps)


def file_stamps(folder: Path) -> FileStamps:
    """Return the stamps of the model files of a folder that exist."""
    stamps = []
    for name in PORTABLE_FILES:
        try:
            status = (folder / name).stat()
        except OSError:
            continue
        stamps.append((name, status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamps)


def _smoke_test(recognizer: Recognizer, folder: Path) -> None:
    gray = np.full((FACE_SIZE, FACE_SIZE), 128, np.uint8)
    try:
        probabilities = np.array(recognizer.recognize_face(gray).probabilities)
        recognizer.recognize(np.repeat(np.repeat(gray, 4, axis=0), 4, axis=1))
    except Exception as error:  # onnxruntime and OpenCV raise types of their own
        raise ModelError(f"the model of {folder} fails on a picture: {error}") from error
    if not (np.isfinite(probabilities).all() and np.isclose(probabilities.sum(), 1, atol=1e-6)):
        raise ModelError(f"the model of {folder} answers {probabilities.tolist()} to a gray face, expected probabilities")
