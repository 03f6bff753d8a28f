"""Quantise exported networks to 8 bits, and check that their answers stay.

Static quantisation by ONNX Runtime: weights per output channel, activations by their range on training images (Jacob et al. 2018,
arXiv 1712.05877).
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from fer_pipeline.data.table.dataset import FaceDataset
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import INPUT, open_session, session_logits
from fer_pipeline.models.onnx_files import read_full
from fer_pipeline.workspace.files import replaced_file

CALIBRATION_IMAGES = 1024
"""Number of training images that the ranges of activations are measured on."""

MIN_AGREEMENT = 0.99
"""Share of validation images whose predicted class must stay the same."""

MAX_ACCURACY_LOSS = 0.002
"""Largest allowed loss of accuracy on validation."""

_QUANTISED = ["Conv", "Relu", "Add", "MaxPool"]
"""Operators that compute in 8 bits. The layer of the logits is small, and in 8 bits changes most answers."""

_BATCH = 64
_THREADS = 2


@dataclass(frozen=True)
class QuantizationCheck:
    """How answers of an 8-bit network differ on labelled images.

    `agreement` is the share of equal classes, `accuracy_change` that of the accuracy, 1 being all rows.
    """

    rows: int
    agreement: float
    accuracy_change: float

    @property
    def holds(self) -> bool:
        """Whether the 8-bit network may take the place of the other."""
        return self.agreement >= MIN_AGREEMENT and -self.accuracy_change <= MAX_ACCURACY_LOSS

    def __str__(self) -> str:
        return (
            f"the same answer for {100 * self.agreement:.2f} % of {self.rows:,} validation pictures (at least "
            f"{100 * MIN_AGREEMENT:g} % expected), accuracy {100 * self.accuracy_change:+.2f} points (a loss of at most "
            f"{100 * MAX_ACCURACY_LOSS:g} expected)"
        )


def quantize(source: Path, images: UInt8Array, target: Path) -> None:
    """Write the network of `source` with 8-bit weights and activations.

    `images` are model inputs, uint8 (N, 48, 48, 1), of the training split; up to `CALIBRATION_IMAGES` of them, drawn with seed 0,
    give the ranges. Weights take 7 of the 8 bits: on CPUs without VNNI instructions sums of 8-bit products would overflow, so
    answers would depend on the machine. Raises `ModelError` where `source` is no ONNX network.
    """
    chosen = np.random.default_rng(0).permutation(len(images))[:CALIBRATION_IMAGES]
    with tempfile.TemporaryDirectory(prefix="fer-quantize-") as scratch:
        full, prepared = Path(scratch) / "full.onnx", Path(scratch) / "prepared.onnx"
        onnx.save(read_full(source), str(full))
        quant_pre_process(str(full), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(target),
            _Batches(images[np.sort(chosen)]),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_QUANTISED,
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
    model = onnx.load(str(target))
    domains = {node.domain for node in model.graph.node}
    used = [entry for entry in model.opset_import if entry.domain in domains]
    del model.opset_import[:]
    model.opset_import.extend(used)  # the quantizer declares domains that no node is of, on which ensembles would disagree
    onnx.checker.check_model(model)
    onnx.save(model, str(target))


def quantize_checked(file: Path, images: UInt8Array, validation: FaceDataset) -> QuantizationCheck:
    """Quantise a network in place where its answers on validation stay.

    `images` are those of the training split, as for `quantize`. Where the check does not hold the file stays as it is. Raises
    `ModelError` where the file is no network of this project.
    """
    with replaced_file(file) as target:
        quantize(file, images, target)
        before, after = (session_logits(open_session(network, _THREADS), validation.images) for network in (file, target))
        check = check_answers(before, after, validation.labels)
        if not check.holds:
            shutil.copyfile(file, target)
    return check


def check_answers(
    before: npt.NDArray[np.float32], after: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]
) -> QuantizationCheck:
    """Compare logits (N, 7) of one network before and after quantisation.

    Both are of the same N validation images with `labels` (N,).
    """
    first, second = before.argmax(axis=1), after.argmax(axis=1)
    change = float((second == labels).mean() - (first == labels).mean())
    return QuantizationCheck(len(labels), float((first == second).mean()), change)


class _Batches(CalibrationDataReader):
    def __init__(self, images: UInt8Array) -> None:
        self._batches = iter([images[start : start + _BATCH] for start in range(0, len(images), _BATCH)])

    def get_next(self) -> dict[str, UInt8Array] | None:
        batch = next(self._batches, None)
        return None if batch is None else {INPUT: batch}
