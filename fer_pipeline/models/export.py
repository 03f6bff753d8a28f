"""Run the export stage: ONNX with labels, image spec and temperature.

Needs the TensorFlow backend of Keras.
"""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import onnxruntime
import tensorflow as tf
import tf2onnx

from fer_pipeline.config.params import ExportParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import copy_training_images
from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.evaluation.stored_metrics import read_metrics
from fer_pipeline.imaging import FACE_SIZE, ImageSpec, UInt8Array
from fer_pipeline.metrics.calibration import CALIBRATION_FILE
from fer_pipeline.model_info import MODEL_FILE, OPSET, ModelInfo, file_sha256
from fer_pipeline.models.quantization import QuantizationCheck, quantize_checked
from fer_pipeline.training.artifacts import KERAS_FILE, read_model, read_training
from fer_pipeline.workspace.files import replaced_folder

INPUT, OUTPUT = "image", "logits"
PARITY_ROWS = 256
"""Number of validation images on which Keras and ONNX are compared."""


def export(
    processed: Path, model_dir: Path, evaluation_dir: Path, out: Path, params: ExportParams, lineage: dict[str, str]
) -> tuple[ModelInfo, QuantizationCheck | None]:
    """Export a trained model; return its metadata, and the check of 8 bits.

    Replaces the folder `out`: model.onnx, model.json, model.keras, training_pictures.npy. Where `params.precision` is int8 and
    the check does not hold, model.onnx computes in float32 and its metadata says so; the check is None where it is float32.

    Raises `ToolUnavailableError` where Keras runs on another backend, `ModelError` where a file is missing, or where ONNX and
    Keras logits of validation images lie further apart than `params.tolerance`.
    """
    if keras.backend.backend() != "tensorflow":
        raise ToolUnavailableError(
            f"export needs the tensorflow backend of Keras, this process runs {keras.backend.backend()}: "
            "set KERAS_BACKEND=tensorflow (a model trained on another backend exports as well)"
        )
    training = read_training(model_dir)
    network = read_model(model_dir)
    calibration = _read_json(evaluation_dir / CALIBRATION_FILE)
    metrics = read_metrics(evaluation_dir)
    table = ProcessedTable.open(processed)
    validation = table.split("validation")
    with replaced_folder(out) as folder:
        to_onnx(network, folder / MODEL_FILE)
        check_parity(network, folder / MODEL_FILE, validation.images[:PARITY_ROWS], params.tolerance)
        check = None
        if params.precision == "int8":
            check = quantize_checked(folder / MODEL_FILE, table.split("train").images, validation)
        shutil.copyfile(model_dir / KERAS_FILE, folder / KERAS_FILE)
        copy_training_images(model_dir, folder)
        info = ModelInfo(
            network=training["network"],
            sha256=file_sha256(folder / MODEL_FILE),
            temperature=float(calibration.get("temperature", math.nan)),
            image_spec=replace(ImageSpec.from_dict(training["image_spec"]), detector=params.detector),
            synthetic=training["synthetic"],
            data=training["source"],
            lineage=lineage,
            metrics={name: float(value) for name, value in metrics.items()},
            precision="int8" if check is not None and check.holds else "float32",
        )
        info.write(folder)
    return info, check


def to_onnx(network: keras.Model, path: Path) -> None:
    """Write the network as ONNX: uint8 "image" to float32 "logits".

    The shapes are (N, 48, 48, 1) and (N, 7), N free.
    """

    def logits(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {OUTPUT: network(image, training=False)}

    signature = [tf.TensorSpec((None, FACE_SIZE, FACE_SIZE, 1), tf.uint8, name=INPUT)]
    tf2onnx.convert.from_function(
        tf.function(logits, input_signature=signature), input_signature=signature, opset=OPSET, output_path=str(path)
    )


def check_parity(network: keras.Model, path: Path, images: UInt8Array, tolerance: float) -> float:
    """Compare Keras and ONNX logits on uint8 images (N, 48, 48, 1).

    Returns the largest absolute difference.

    Raises `ModelError` above the tolerance, or where the ONNX model has other names or shapes than "image" to "logits" (N, 7).
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()], [node.name for node in session.get_outputs()]
    if names != ([INPUT], [OUTPUT]):
        raise ModelError(f"{path.name} has inputs {names[0]} and outputs {names[1]}, expected {INPUT} and {OUTPUT}")
    expected: npt.NDArray[np.float32] = network.predict(images, verbose=0)
    found = session.run([OUTPUT], {INPUT: images})[0]
    if found.shape != expected.shape:
        raise ModelError(f"ONNX logits have shape {found.shape}, Keras ones {expected.shape}")
    difference = float(np.abs(found - expected).max())
    if not difference <= tolerance:
        raise ModelError(
            f"ONNX and Keras logits differ by {difference:.2g} on {len(images)} validation pictures, export.tolerance is "
            f"{tolerance:g}: raise it if this is acceptable, or report the network"
        )
    return difference


def _read_json(path: Path) -> dict[str, float]:
    try:
        values: dict[str, float] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; run `fer evaluate` first") from error
    return values
