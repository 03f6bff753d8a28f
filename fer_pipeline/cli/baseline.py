"""`fer baseline`: how far classical features get on the same data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.console import results
from fer_pipeline.cli.stages import PARAMS, Params, Processed
from fer_pipeline.config import params as params_file
from fer_pipeline.workspace.locks import exclusive


def baseline(
    processed: Processed = Path("data/processed"),
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("data/baseline"),
    params: Params = PARAMS,
) -> None:
    """Fit HOG features with logistic regression in Spark MLlib; measure and register it like any other model.

    Its version has the alias baseline and is no challenger: only `fer promote --version` judges it. A few minutes on FER-2013.

    Example: `fer baseline`, then `fer compare baseline champion`
    """
    from fer_pipeline.experiments.baseline import baseline_and_track

    with exclusive(out, "fer baseline"):
        info, version = baseline_and_track(processed, out, params_file.load(params))
    found = info.metrics
    results.print(
        f"accuracy {found['accuracy']:.4f} ({found['accuracy_low']:.4f} to {found['accuracy_high']:.4f}), "
        f"macro-F1 {found['macro_f1']:.4f} on {found['rows']:,.0f} test pictures; {version}, alias baseline; model: {out}"
    )
