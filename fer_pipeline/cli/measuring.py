"""Commands that measure and explain an exported model beyond its own test split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fer_pipeline.cli.console import results
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace import exclusive

if TYPE_CHECKING:
    from fer_pipeline.faces import FaceDetector

Model = Annotated[Path, typer.Option(help="Folder of an exported model: model.onnx and model.json.")]

EXPORT, PROCESSED, REPORTS = Path("data/export"), Path("data/processed"), Path("data/reports")


def evaluate_on(
    path: Annotated[Path, typer.Argument(help="Folder of the unpacked data set, or its CSV.")],
    labels: Annotated[str, typer.Option(help="Layout: ckplus, jaffe, rafdb, affectnet, ferplus or imagefolder.")],
    model: Model = EXPORT,
    out: Annotated[Path | None, typer.Option(help="Folder to write; data/reports/external/LABELS by default.")] = None,
    part: Annotated[
        str | None, typer.Option(help="test, validation, train or all; left out: test rows where the set has some.")
    ] = None,
    faces: Annotated[
        str, typer.Option(help="auto, crop (each picture is one face) or detect (find the face first); auto knows the layouts.")
    ] = "auto",
) -> None:
    """Measure a model on a data set that it never saw.

    Example: `fer evaluate-on ~/jaffe --labels jaffe`
    """
    from fer_pipeline.inference.classifier import EmotionClassifier
    from fer_pipeline.modeling.external import measure, write_external
    from fer_pipeline.modeling.external_sets import open_set

    if faces not in ("auto", "crop", "detect"):
        raise ParamsError(f"--faces is {faces}, expected auto, crop or detect")
    classifier = EmotionClassifier.load(model, threads=2)
    data = open_set(path, labels, part)
    detect = faces == "detect" or (faces == "auto" and data.framing == "picture")
    target = out or REPORTS / "external" / labels
    with exclusive(target, "fer evaluate-on"):
        result = measure(data, classifier.probabilities, classifier.info.image_spec, _detector(model) if detect else None)
        write_external(target, result, classifier.info)
    for name, rows in result.left_out.items():
        results.print(f"[yellow]left out:[/] {rows:,} pictures of {name}, a class that the model lacks")
    if result.lacking:
        results.print(f"[yellow]left out of the averages:[/] {', '.join(result.lacking)}, which {data.title} lacks")
    for count, what in ((len(result.unreadable), "cannot be read"), (len(result.without_face), "have no face that was found")):
        if count:
            results.print(f"[yellow]left out:[/] {count:,} pictures that {what}")
    results.print(
        f"accuracy {result.accuracy.estimate:.4f}, macro-F1 {result.macro_f1.estimate:.4f} on {result.rows:,} pictures of "
        f"{data.title} ({data.part}); report: {target / 'report.html'}"
    )


def _detector(model: Path) -> FaceDetector:
    from fer_pipeline.faces import YUNET_FILE, HaarDetector, YuNetDetector

    yunet = model / YUNET_FILE
    return YuNetDetector(yunet) if yunet.is_file() else HaarDetector()
