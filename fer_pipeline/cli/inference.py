"""What `fer predict` and `fer video` have in common: their options, and the recognizer that these ask for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline.cli.options import BUNDLE, YUNET, chosen_detector, chosen_model

if TYPE_CHECKING:  # OpenCV and onnxruntime are loaded by the commands, not by `fer --help`
    from fer_pipeline.inference.recognizer import Recognizer

Model = Annotated[
    str | None,
    typer.Option(
        help="Shipped model (`fast`), `champion`, `challenger` or `fer/3` of the registry, or folder of an exported model; "
        f"left out: the champion in {BUNDLE} if there, then `fast`."
    ),
]
Detector = Annotated[
    Path | None,
    typer.Option(
        help=f"face_detection_yunet_2023mar.onnx; left out: {YUNET} if there, then what `fer models fetch yunet` fetched, "
        "then the model's own, then Haar."
    ),
]
Threshold = Annotated[float, typer.Option(help="Probability below which the answer is `uncertain`.", min=0, max=1)]


def chosen_recognizer(model: str | None, detector_file: Path | None, threshold: float) -> Recognizer:
    """The recognizer of a command's options; says on stderr which model it is."""
    from fer_pipeline.inference.recognizer import Recognizer

    return Recognizer.load(chosen_model(model), chosen_detector(detector_file), threshold)


def plain(text: str) -> str:
    """Text that is no markup of rich."""
    from rich.markup import escape

    return escape(text)
