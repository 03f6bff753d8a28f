"""`fer explain` and `explain-report`: explanation maps and their faithfulness."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.evaluate import Model, Processed
from fer_pipeline.cli.options import Detector, chosen_model, labelled, model_path, results
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.layout import EXPORT, PROCESSED, REPORTS
from fer_pipeline.workspace.locks import exclusive


def explain(
    picture: Annotated[Path, typer.Argument(help="Picture file with a face.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    method: Annotated[str, typer.Option(help="lime, gradcam or occlusion.")] = "occlusion",
    model: Annotated[
        Path | None,
        typer.Option(
            parser=model_path,
            metavar="MODEL",
            help="As elsewhere; left out: the model of `fer predict`.",
        ),
    ] = None,
    faces: Annotated[
        str, typer.Option(help="detect (search the picture for faces) or crop (the picture is one face).")
    ] = "detect",
    face: Annotated[int, typer.Option(help="Which face to explain: its number in `fer predict`, the largest first.", min=1)] = 1,
    detector: Detector = None,
    seed: Annotated[int, typer.Option(help="Seed of the samples of LIME.")] = 0,
) -> None:
    """Show which parts of a face speak for each emotion.

    Example: `fer explain me.jpg --face 2 --out me-explained.png`
    """
    from fer_pipeline.analysis.explain.picture import explain_picture

    if faces not in ("detect", "crop"):
        raise ParamsError(f"--faces is {faces}, expected detect or crop")
    if faces == "crop" and face != 1:
        raise ParamsError(f"--face is {face}, but with --faces crop the picture is one face: leave one of both out")
    emotion, probability = explain_picture(
        picture,
        model or chosen_model(None),
        out,
        method=method,
        crop=faces == "crop",
        detector=detector,
        seed=seed,
        number=face,
    )
    results.print(f"{emotion} {100 * probability:.0f} %; {out}")


def explain_report(
    model: Model = EXPORT,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = REPORTS / "explanation",
    pictures: Annotated[int, typer.Option(min=7, help="Test pictures for the faithfulness figures.")] = 70,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Compare LIME, Grad-CAM and occlusion maps: which to trust?

    Example: `fer explain-report --pictures 210`
    """
    from fer_pipeline.analysis.explain.methods import compare_methods
    from fer_pipeline.analysis.explain.picture import METHODS

    with exclusive(out, "fer explain-report"):
        compared = compare_methods(model, processed, out, sample_size=pictures, seed=seed)
    for method, reason in compared.absent.items():
        results.print(labelled("left out:", "yellow", f"{method}: {reason}"))
    for row in compared.rows:
        verdict = "" if row.method not in METHODS else "  trusted" if row.trusted else "  not trusted"
        results.print(f"{row.method:10} insertion {row.insertion_auc:.3f}, deletion {row.deletion_auc:.3f}{verdict}")
    results.print(f"report: {out / 'report.html'}")
