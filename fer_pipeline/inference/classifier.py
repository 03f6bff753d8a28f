"""The exported network on onnxruntime: model inputs -> logits -> calibrated probabilities."""

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

_BATCH = 128  # bounds the memory of one run, however many faces a picture has


class EmotionClassifier:
    """Seven emotions of face crops; safe to call from several threads."""

    def __init__(self, session: Any, info: ModelInfo) -> None:
        self._session = session
        self.info = info

    @classmethod
    def load(cls, folder: Path, threads: int = 1) -> EmotionClassifier:
        """The classifier of an exported model's folder, on the CPU with `threads` threads per call.

        Raises `ModelError` where files are missing or damaged, or the network has other inputs or outputs.
        """
        info = ModelInfo.read(folder)
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(folder / MODEL_FILE, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen types of its own, all of them straight from Exception
            raise ModelError(f"{folder / MODEL_FILE} is no network that onnxruntime reads: {error}") from error
        _check_signature(session, folder)
        return cls(session, info)

    def logits(self, inputs: UInt8Array) -> npt.NDArray[np.float32]:
        """float32 (N, 7), in the order of `labels.EMOTIONS`, of inputs uint8 (N, 48, 48, 1) made by `imaging.to_model_input`."""
        if inputs.dtype != np.uint8 or inputs.shape[1:] != (FACE_SIZE, FACE_SIZE, 1):
            raise ImageError(f"model input is {inputs.dtype} {inputs.shape}, expected uint8 (N, {FACE_SIZE}, {FACE_SIZE}, 1)")
        if len(inputs) == 0:
            return np.zeros((0, len(EMOTIONS)), np.float32)
        parts = [self._session.run([OUTPUT], {INPUT: inputs[i : i + _BATCH]})[0] for i in range(0, len(inputs), _BATCH)]
        return np.concatenate(parts)

    def probabilities(self, inputs: UInt8Array) -> npt.NDArray[np.float64]:
        """float64 (N, 7), calibrated: softmax of the logits over the temperature of the model; rows sum to 1."""
        scaled = self.logits(inputs).astype(np.float64) / self.info.temperature
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _check_signature(session: Any, folder: Path) -> None:
    inputs = [(value.name, value.type, value.shape[1:]) for value in session.get_inputs()]
    outputs = [(value.name, value.type, value.shape[1:]) for value in session.get_outputs()]
    expected_inputs = [(INPUT, "tensor(uint8)", [FACE_SIZE, FACE_SIZE, 1])]
    expected_outputs = [(OUTPUT, "tensor(float)", [len(EMOTIONS)])]
    if inputs != expected_inputs or outputs != expected_outputs:
        raise ModelError(
            f"{folder / MODEL_FILE} maps {inputs} to {outputs}, expected {expected_inputs} to {expected_outputs}: "
            "export the model again with `fer export`"
        )
