"""`fer evaluate-dataset`, `robustness`, `card`: measure an exported model further."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import labelled, model_path, results
from fer_pipeline.workspace.layout import EXPORT, MODEL, PROCESSED, REPORTS
from fer_pipeline.workspace.locks import exclusive

Model = Annotated[
    Path,
    typer.Option(
        parser=model_path,
        metavar="MODEL",
        help="Folder of an exported model, pretrained model (`fast`), or `champion`, `challenger`, `fer/3` of the registry.",
    ),
]
Processed = Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")]


def evaluate_dataset(
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

    AffectNet may come as CSV tables, as `images` beside `annotations` in `train_set` and `val_set`, or as class folders 0 to 7.

    Example: `fer evaluate-dataset ~/jaffe --labels jaffe`
    """
    from fer_pipeline.analysis.external.evaluate import evaluate_dataset as evaluate

    target = out or REPORTS / "external" / labels
    with exclusive(target, "fer evaluate-dataset"):
        result = evaluate(path, labels, model, target, part=part, faces=faces)
    data = result.data
    for name, rows in result.left_out.items():
        results.print(labelled("left out:", "yellow", f"{rows:,} pictures: {name}, which is none of the model's labels"))
    if result.lacking:
        results.print(labelled("left out of the averages:", "yellow", f"{', '.join(result.lacking)}, which {data.title} lacks"))
    for count, what in ((len(result.unreadable), "cannot be read"), (len(result.without_face), "have no face that was found")):
        if count:
            results.print(labelled("left out:", "yellow", f"{count:,} pictures that {what}"))
    results.print(
        f"accuracy {result.accuracy.estimate:.4f}, macro-F1 {result.macro_f1.estimate:.4f} on {result.rows:,} pictures of "
        f"{data.title} ({data.part}); report: {target / 'report.html'}"
    )


def robustness(
    model: Model = EXPORT,
    processed: Processed = PROCESSED,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = REPORTS / "robustness",
    pictures: Annotated[int | None, typer.Option(min=1, help="Test pictures to use; left out: all.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
) -> None:
    """Measure accuracy on corrupted test pictures.

    The corruptions are noise, blur, JPEG, light, rotation, occlusion and down-scaling.

    Example: `fer robustness --pictures 1000`
    """
    from fer_pipeline.analysis.robustness.evaluate import evaluate_robustness

    with exclusive(out, "fer robustness"):
        result = evaluate_robustness(model, processed, out, sample_size=pictures, seed=seed)
    results.print(
        f"mean corruption accuracy {result.mean_corruption_accuracy.estimate:.4f}, clean {result.clean.estimate:.4f} on "
        f"{result.rows:,} test pictures; report: {out / 'report.html'}"
    )


def card(
    model: Model = EXPORT,
    training: Annotated[Path, typer.Option(help="Folder written by `fer train`.")] = MODEL,
    processed: Processed = PROCESSED,
    evaluation: Annotated[Path, typer.Option(help="Folder written by `fer evaluate`.")] = REPORTS / "evaluation",
    reports: Annotated[Path, typer.Option(help="Folder with the reports robustness, explanation and external/.")] = REPORTS,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = REPORTS / "card",
) -> None:
    """Write the model card.

    It has data, protocol, figures, uses, uses that are ruled out, and limits.

    Example: `fer card`
    """
    from fer_pipeline.analysis.card.card import MARKDOWN_FILE, read_card_metadata, write_card
    from fer_pipeline.analysis.card.sections import card_sections
    from fer_pipeline.model_info import CARD_FILE

    metadata = read_card_metadata(model, training, processed, evaluation, reports)
    with exclusive(out, "fer card"):
        write_card(out, metadata, card_sections(metadata))
    for name in metadata.stale:
        results.print(labelled("left out:", "yellow", f"{reports / name} was measured for another model"))
    results.print(f"{out / CARD_FILE} and {MARKDOWN_FILE}")
