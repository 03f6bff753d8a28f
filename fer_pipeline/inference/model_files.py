"""Hold an exported model in memory, to send it to other processes and machines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.errors import ModelError
from fer_pipeline.imaging import DEFAULT_DETECTOR, DetectorName
from fer_pipeline.inference.detection.selection import find_detector
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.inference.recognizer import DEFAULT_THRESHOLD, Recognizer
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, ModelInfo

PORTABLE_FILES = (MODEL_FILE, INFO_FILE, YUNET_FILE, CARD_FILE)


@dataclass(frozen=True)
class PortableModel:
    """Name and content of each file of one exported model, and its face detector.

    Changes of its folder after `read` have no effect. YuNet's file is among `files` where it is the detector.
    """

    files: tuple[tuple[str, bytes], ...]
    detector: DetectorName = DEFAULT_DETECTOR

    @classmethod
    def read(cls, folder: Path, detector: str | None = None) -> PortableModel:
        """Read an exported model.

        `detector` is a name or file as for `selection.find_detector`; None is the one of the model's image spec. Raises
        `ModelError` where files are missing or cannot be read; `recognizer` checks whether they fit each other.
        """
        info = ModelInfo.read(folder)  # here, so that the message names the folder and not a copy
        name, yunet = find_detector(detector or info.image_spec.detector, folder)
        paths = {file: folder / file for file in PORTABLE_FILES}
        if yunet is not None:
            paths[YUNET_FILE] = yunet
        try:
            return cls(tuple((file, path.read_bytes()) for file, path in paths.items() if path.exists()), name)
        except OSError as error:
            raise ModelError(f"{folder} cannot be read: {error}; it may be changing, try again") from error

    @property
    def card(self) -> str | None:
        """Return the model card, an HTML page; None where the folder has none."""
        return next((content.decode(errors="replace") for name, content in self.files if name == CARD_FILE), None)

    def write(self, folder: Path) -> None:
        """Write the files into an existing folder."""
        for name, content in self.files:
            (folder / name).write_bytes(content)

    def recognizer(self, threshold: float = DEFAULT_THRESHOLD) -> Recognizer:
        """Load detector and classifier.

        Raises `ModelError` where the files do not fit each other.
        """
        with tempfile.TemporaryDirectory(prefix="fer-model-") as scratch:
            self.write(Path(scratch))
            return Recognizer.load(Path(scratch), self.detector, threshold)
