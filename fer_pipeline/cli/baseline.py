"""`fer baseline`: how far classical features get on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import params as params_file
from fer_pipeline.cli.console import results
from fer_pipeline.cli.stages import PARAMS, Params, Processed
from fer_pipeline.workspace import exclusive

FOLDER = Path("data/reports/baseline")


def baseline(
    processed: Processed = Path("data/processed"),
    out: Annotated[Path, typer.Option(help="Folder to write.")] = FOLDER,
    params: Params = PARAMS,
) -> None:
    """Fit HOG features with logistic regression in Spark MLlib, and measure it as `fer evaluate` measures networks.

    It is an MLflow run with the same metric names, and no version of the registry: it is no ONNX file, so it cannot be promoted
    or served. `fer compare baseline champion` compares it like one.

    Example: `fer baseline`, then `fer compare baseline champion`
    """
    from fer_pipeline.baseline import baseline_and_track

    with exclusive(out, "fer baseline"):
        found = baseline_and_track(processed, out, params_file.load(params))
    results.print(
        f"accuracy {found['accuracy']:.4f} ({found['accuracy_low']:.4f} to {found['accuracy_high']:.4f}), "
        f"macro-F1 {found['macro_f1']:.4f} on {found['rows']:,.0f} test pictures; figures: {out / 'metrics.json'}"
    )
