"""Hold an exported model in memory, to send it to other processes and machines."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.errors import ModelError
from fer_pipeline.inference.detection.yunet import YUNET_FILE
from fer_pipeline.inference.recognizer import DEFAULT_THRESHOLD, Recognizer
from fer_pipeline.model_info import CARD_FILE, INFO_FILE, MODEL_FILE, ModelInfo

PORTABLE_FILES = (MODEL_FILE, INFO_FILE, YUNET_FILE, CARD_FILE)


@dataclass(frozen=True)
class PortableModel:
    """Name and content of each file of one exported model.

    Changes of its folder after `read` have no effect.
    """

    files: tuple[tuple[str, bytes], ...]

    @classmethod
    def read(cls, folder: Path, detector: Path | None = None) -> PortableModel:
        """Read an exported model.

        The face detector is that of its folder, or the YuNet file `detector`. Raises `ModelError` where files are missing or
        cannot be read; `recognizer` checks whether they fit each other.
        """
        ModelInfo.read(folder)  # here, so that the message names the folder and not a copy
        paths = {name: folder / name for name in PORTABLE_FILES}
        if detector is not None:
            paths[YUNET_FILE] = detector
        try:
            return cls(tuple((name, path.read_bytes()) for name, path in paths.items() if path.exists()))
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
            return Recognizer.load(Path(scratch), threshold=threshold)
