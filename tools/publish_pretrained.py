"""Add an exported model to the pretrained ones of the package.

Run `python -m tools.publish_pretrained NAME`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import environment
from fer_pipeline.cli import run_command
from fer_pipeline.cli.options import errors, labelled, results
from fer_pipeline.workspace.layout import EXPORT, MODEL, PARAMS, PROCESSED, REPORTS, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive


def publish(
    name: Annotated[str, typer.Argument(help="Name of the pretrained model: `fast`, `accurate`.")],
    export: Annotated[Path, typer.Option("--from", help="Folder written by `fer export`.")] = EXPORT,
    training: Annotated[Path, typer.Option(help="Folder written by `fer train`.")] = MODEL,
    processed: Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")] = PROCESSED,
    reports: Annotated[Path, typer.Option(help="Folder with the reports robustness, explanation and external/.")] = REPORTS,
    to: Annotated[Path, typer.Option(help="Folder of the pretrained models.")] = Path("fer_pipeline/weights"),
    keras: Annotated[bool, typer.Option("--keras", help="Publish model.keras (32 bits), too.")] = False,
    tolerance: Annotated[float, typer.Option(help="How far a logit may move by storing weights in 16 bits.", min=0)] = 0.01,
    int8: Annotated[bool, typer.Option("--int8", help="Compute in 8 bits; refused where answers on validation change.")] = False,
) -> None:
    """Store an exported model with 16-bit weights or in 8 bits.

    It is measured as stored.

    Its card and its entry of the index are written, too.

    It takes minutes where params.yaml asks for test-time augmentation.
    """
    from fer_pipeline.config.params import load_params
    from fer_pipeline.models import publish_pretrained

    params = load_params(PARAMS)
    with exclusive(RUN_LOCK, "tools.publish_pretrained"), errors.status("storing and measuring …"):
        shipped = publish_pretrained.publish(
            name,
            publish_pretrained.Sources(export, training, processed, reports),
            to,
            params.evaluate,
            keras=keras,
            tolerance=tolerance,
            int8=int8,
        )
    for report in shipped.stale:
        results.print(labelled("left out of the card:", "yellow", f"{reports / report} was measured for another model"))
    size = sum((shipped.folder / file).stat().st_size for file in shipped.model.files) / 1e6
    if shipped.quantization is not None:
        results.print(f"8 bits: {shipped.quantization}")
    stored = "weights in 16 bits" if shipped.quantization is None else "8 bits"
    results.print(
        f"{shipped.folder}: {size:.1f} MB, accuracy {shipped.model.metrics['accuracy']:.4f} on test as stored; with {stored} "
        f"a logit moves by at most {shipped.difference:.4f}, {100 * shipped.agreement:.2f} % of the answers stay"
    )


if __name__ == "__main__":
    environment.apply()
    run_command(lambda: typer.run(publish))
