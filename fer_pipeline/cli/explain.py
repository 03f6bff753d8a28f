"""Commands that show which parts of a face an answer rests on, and how far such maps can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline.cli.evaluate import Model, Processed, largest_face, recognizer_of
from fer_pipeline.cli.options import chosen_detector, chosen_model, model_path, results
from fer_pipeline.errors import ImageError, ModelError, ParamsError, ToolUnavailableError
from fer_pipeline.workspace.layout import EXPORT, PROCESSED, REPORTS
from fer_pipeline.workspace.locks import exclusive

if TYPE_CHECKING:
    from fer_pipeline.analysis.explain.faithfulness import Explain
    from fer_pipeline.inference.classifier import EmotionClassifier

METHODS = ("lime", "gradcam", "occlusion")


def explain(
    picture: Annotated[Path, typer.Argument(help="Picture file with a face.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    method: Annotated[str, typer.Option(help="lime, gradcam or occlusion.")] = "occlusion",
    model: Annotated[
        Path | None,
        typer.Option(
            parser=model_path,
            metavar="MODEL",
            help=f"As elsewhere; left out: what was exported to {EXPORT} if there, then the model of `fer predict`.",
        ),
    ] = None,
    faces: Annotated[
        str, typer.Option(help="detect (the largest face is explained) or crop (the picture is one face).")
    ] = "detect",
    seed: Annotated[int, typer.Option(help="Seed of the samples of LIME.")] = 0,
) -> None:
    """Show which parts of a face speak for each emotion.

    Example: `fer explain me.jpg --method lime --out me-explained.png`
    """
    from fer_pipeline.analysis.explain.report import panel_figure
    from fer_pipeline.imaging import decode, to_model_input
    from fer_pipeline.inference.classifier import EmotionClassifier

    if faces not in ("detect", "crop"):
        raise ParamsError(f"--faces is {faces}, expected detect or crop")
    try:
        image = decode(picture.read_bytes())
    except OSError as error:
        raise ImageError(f"{picture} cannot be read: {error.strerror}") from error
    except ImageError as error:
        raise ImageError(f"{picture}: {error}") from error
    model = model or (EXPORT if EXPORT.is_dir() else chosen_model(None))
    classifier = EmotionClassifier.load(model, threads=2)
    if faces == "detect":
        found = largest_face(recognizer_of(model, classifier, chosen_detector(None)), image)
        if found is None:
            raise ImageError(f"no face was found in {picture}: if it is a cut-out face, add --faces crop")
        image = found
    face = to_model_input(image, classifier.info.image_spec)
    maps = _explainer(method, model, classifier, seed)(face)
    probabilities = classifier.probabilities(face[None])[0]
    out.parent.mkdir(parents=True, exist_ok=True)
    panel_figure(face, maps, probabilities, method).savefig(out, dpi=110, format="png")
    best = int(probabilities.argmax())
    results.print(f"{classifier.info.labels[best]} {probabilities[best]:.3f}; {out}")


def explain_report(
    model: Model = EXPORT,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = REPORTS / "explanation",
    pictures: Annotated[int, typer.Option(min=7, help="Test pictures for the faithfulness figures.")] = 70,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Compare LIME, Grad-CAM and occlusion maps, and say which of them to trust.

    Example: `fer explain-report --pictures 210`
    """
    from fer_pipeline.analysis.explain.faithfulness import measure
    from fer_pipeline.analysis.explain.report import examples_figure, write_explanations
    from fer_pipeline.data.table.reader import ProcessedTable
    from fer_pipeline.inference.classifier import EmotionClassifier

    classifier = EmotionClassifier.load(model, threads=2)
    table = ProcessedTable.open(processed)
    classifier.info.check_image_spec(table.metadata, model=model, table=processed)
    test = table.split("test")
    methods: dict[str, Explain] = {}
    absent: dict[str, str] = {}
    for method in METHODS:
        try:
            methods[method] = _explainer(method, model, classifier, seed)
        except (ToolUnavailableError, ModelError) as error:
            absent[method] = str(error).replace(f"{model}/", "")  # a card goes to other machines
            results.print(f"[yellow]left out:[/] {method}: {error}")
    with exclusive(out, "fer explain-report"):
        rows = measure(test, classifier.probabilities, methods, pictures=pictures, seed=seed)
        examples = examples_figure(test, classifier.probabilities, methods)
        write_explanations(out, rows, examples, classifier.info, pictures=min(pictures, len(test)), absent=absent)
    for row in rows:
        verdict = "" if row.method not in methods else "  trusted" if row.trusted else "  not trusted"
        results.print(f"{row.method:10} insertion {row.insertion_auc:.3f}, deletion {row.deletion_auc:.3f}{verdict}")
    results.print(f"report: {out / 'report.html'}")


def _explainer(method: str, model: Path, classifier: EmotionClassifier, seed: int) -> Explain:
    if method not in METHODS:
        raise ParamsError(f"--method is {method}, expected one of {', '.join(METHODS)}")
    if method == "gradcam":
        from fer_pipeline.analysis.explain.gradcam import GradCam
        from fer_pipeline.training.artifacts import KERAS_FILE, read_model

        if not (model / KERAS_FILE).is_file():
            raise ModelError(f"Grad-CAM needs {KERAS_FILE}, which this model does not ship; lime and occlusion do without")
        return GradCam(read_model(model)).maps
    if method == "lime":
        from fer_pipeline.analysis.explain.lime import lime_maps

        return lambda image: lime_maps(image, classifier.probabilities, seed=seed)
    from fer_pipeline.inference.saliency import occlusion_maps

    return lambda image: occlusion_maps(image, classifier.probabilities)
