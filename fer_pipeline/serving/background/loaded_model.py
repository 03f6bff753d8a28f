"""A model as the service holds it: its recognizer, and the bytes it was made of, so that its folder may change meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import FACE_SIZE
from fer_pipeline.inference.model_files import PORTABLE_FILES, PortableModel
from fer_pipeline.inference.recognizer import Recognizer

Marks = tuple[tuple[str, int, int, int], ...]
"""Name, inode, time of change and size of each file: what tells that a folder holds something else than before."""


@dataclass(frozen=True)
class ServedModel:
    """One model; `marks` are those of its folder just before it was read."""

    recognizer: Recognizer
    portable: PortableModel
    marks: Marks

    @classmethod
    def read(cls, folder: Path) -> ServedModel:
        """The model of an exported model's folder, tried on a face and on a picture.

        Raises `ModelError` where files are missing or damaged, or it answers no probabilities.
        """
        marks = marks_of(folder)
        portable = PortableModel.read(folder)
        recognizer = portable.recognizer()
        _try(recognizer, folder)
        return cls(recognizer, portable, marks)


def marks_of(folder: Path) -> Marks:
    """The marks of the model files in a folder; of those that are missing there are none."""
    marks = []
    for name in PORTABLE_FILES:
        try:
            facts = (folder / name).stat()
        except OSError:
            continue
        marks.append((name, facts.st_ino, facts.st_mtime_ns, facts.st_size))
    return tuple(marks)


def _try(recognizer: Recognizer, folder: Path) -> None:
    gray = np.full((FACE_SIZE, FACE_SIZE), 128, np.uint8)
    try:
        probabilities = np.array(recognizer.recognize_face(gray).probabilities)
        recognizer.recognize(np.repeat(np.repeat(gray, 4, axis=0), 4, axis=1))
    except Exception as error:  # onnxruntime and OpenCV raise types of their own
        raise ModelError(f"the model of {folder} fails on a picture: {error}") from error
    if not (np.isfinite(probabilities).all() and np.isclose(probabilities.sum(), 1, atol=1e-6)):
        raise ModelError(f"the model of {folder} answers {probabilities.tolist()} to a gray face, expected probabilities")
