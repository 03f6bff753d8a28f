"""Classify emotions of face crops with the exported network on onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from fer_pipeline.errors import ImageError, ModelError
from fer_pipeline.imaging import FACE_SIZE, UInt8Array
from fer_pipeline.labels import EMOTIONS
from fer_pipeline.model_info import MODEL_FILE, ModelInfo

INPUT, OUTPUT = "image", "logits"

_BATCH = 128  # bounds the memory of one run, for any number of faces


class EmotionClassifier:
    """Emotion classifier of face crops; safe to call from several threads."""

    def __init__(self, session: Any, info: ModelInfo) -> None:
        self._session = session
        self.info = info

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> EmotionClassifier:
        """Load an exported model on the CPU, with `threads` threads per call.

        Raises `ModelError` where files are missing or damaged, or the network has other inputs or outputs.
        """
        info = ModelInfo.read(folder)
        return cls(open_session(folder / MODEL_FILE, threads), info)

    def logits(self, inputs: UInt8Array) -> npt.NDArray[np.float32]:
        """Compute logits float32 (N, 7) of inputs uint8 (N, 48, 48, 1).

        Inputs are made by `imaging.to_model_input`; columns are in the order of `labels.EMOTIONS`. Raises `ImageError` for
        another dtype or shape.
        """
        if inputs.dtype != np.uint8 or inputs.shape[1:] != (FACE_SIZE, FACE_SIZE, 1):
            raise ImageError(f"model input is {inputs.dtype} {inputs.shape}, expected uint8 (N, {FACE_SIZE}, {FACE_SIZE}, 1)")
        return session_logits(self._session, inputs)

    def probabilities(self, inputs: UInt8Array) -> npt.NDArray[np.float64]:
        """Compute calibrated probabilities float64 (N, 7) of inputs uint8 (N, 48, 48, 1).

        They are the softmax of the logits divided by the model's temperature; rows sum to 1.
        """
        scaled = self.logits(inputs).astype(np.float64) / self.info.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def open_session(file: Path, threads: int = 1) -> Any:
    """Open an ONNX file on the CPU.

    Raises `ModelError` where onnxruntime cannot read it, or it has other inputs or outputs than a network of this project.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises a dozen types of its own, all of them straight from Exception
        raise ModelError(f"{file} is not a network that onnxruntime can read: {error}") from error
    _check_signature(session, file)
    return session


def session_logits(session: Any, inputs: UInt8Array) -> npt.NDArray[np.float32]:
    """Compute logits float32 (N, 7) of inputs uint8 (N, 48, 48, 1) by an open session."""
    if len(inputs) == 0:
        return np.zeros((0, len(EMOTIONS)), np.float32)
    return np.concatenate([session.run([OUTPUT], {INPUT: inputs[i : i + _BATCH]})[0] for i in range(0, len(inputs), _BATCH)])


def _check_signature(session: Any, file: Path) -> None:
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    outputs = [(value.name, value.type, value.shape[1:]) for value in session.get_outputs()]
    expected_inputs = [(INPUT, "tensor(uint8)", [FACE_SIZE, FACE_SIZE, 1])]
    expected_outputs = [(OUTPUT, "tensor(float)", [len(EMOTIONS)])]
    if inputs != expected_inputs or outputs != expected_outputs:
        raise ModelError(
            f"{file} maps {inputs} to {outputs}, expected {expected_inputs} to {expected_outputs}: "
            "export the model again with `fer export`"
        )
