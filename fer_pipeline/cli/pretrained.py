"""`fer models ship`, `register`, `fetch`, `trained-on`: weights that come with the package or are fetched, and their origin."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline.cli.options import errors, fetched_yunet, model_path, results
from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.pretrained import DEFAULT_MODEL
from fer_pipeline.workspace.layout import EXPORT, MODEL, PARAMS, PROCESSED, RUN_LOCK
from fer_pipeline.workspace.locks import exclusive

YUNET_NAME = "yunet"


def ship(
    name: Annotated[str, typer.Argument(help="Name under which it is shipped: `fast`, `accurate`.")],
    export: Annotated[Path, typer.Option("--from", help="Folder written by `fer export`.")] = EXPORT,
    training: Annotated[Path, typer.Option(help="Folder written by `fer train`.")] = MODEL,
    processed: Annotated[Path, typer.Option(help="Folder written by `fer preprocess`.")] = PROCESSED,
    reports: Annotated[Path, typer.Option(help="Folder with the reports robustness, explanation and external/.")] = Path(
        "data/reports"
    ),
    to: Annotated[Path, typer.Option(help="Folder of the shipped models.")] = Path("fer_pipeline/weights"),
    keras: Annotated[bool, typer.Option("--keras", help="Ship model.keras (32 bits), too.")] = False,
    tolerance: Annotated[float, typer.Option(help="How far a logit may move by storing weights in 16 bits.", min=0)] = 0.01,
) -> None:
    """Make an exported model one that comes with the package: weights in 16 bits, measured again as stored, card, index.

    Takes minutes where params.yaml asks for test-time augmentation.

    Example: `fer models ship fast --from data/export`
    """
    from fer_pipeline.config import params as params_file
    from fer_pipeline.models import publish_pretrained

    params = params_file.load(PARAMS)
    with exclusive(RUN_LOCK, "fer models ship"), errors.status("storing and measuring …"):
        shipped = publish_pretrained.ship(
            name,
            publish_pretrained.Sources(export, training, processed, reports),
            to,
            params.evaluate,
            keras=keras,
            tolerance=tolerance,
        )
    for report in shipped.stale:
        results.print(f"[yellow]left out of the card:[/] {reports / report} was measured for another model")
    size = sum((shipped.folder / file).stat().st_size for file in shipped.model.files) / 1e6
    results.print(
        f"{shipped.folder}: {size:.1f} MB, accuracy {shipped.model.metrics['accuracy']:.4f} on test as stored; with weights in "
        f"16 bits a logit moves by at most {shipped.difference:.4f}, {100 * shipped.agreement:.2f} % of the answers stay"
    )


def register(
    name: Annotated[str, typer.Argument(help="Name of a shipped model: `fast`, `accurate`.")] = DEFAULT_MODEL,
) -> None:
    """Register a model that comes with the package as challenger, with recipe, curves and figures of its training.

    It is then compared, judged and promoted like a trained one; the gate needs the data that it was made for.

    Example: `fer models register accurate`, then `fer compare champion challenger`
    """
    from fer_pipeline.promotion.register_pretrained import register_shipped

    with exclusive(RUN_LOCK, "fer models register"), errors.status("registering …"):
        version, new = register_shipped(Path.cwd(), name)
    what = "registered as" if new else "is already"
    results.print(f"{name} {what} {version}, alias challenger; `fer promote` judges it", markup=False)


def fetch(
    what: Annotated[str, typer.Argument(help="`yunet`, the better and faster face detector (233 kB, MIT licence).")],
    url: Annotated[str | None, typer.Option(help="Address of the file; left out: OpenCV's model zoo on GitHub.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="File to write; left out: the user's data folder, from where it is used by itself.")
    ] = None,
) -> None:
    """Fetch a file that does not come with the package, and check it against its known SHA-256.

    `--to data/models/yunet.onnx` makes it the detector of this workspace and of the bundles packaged in it.

    Example: `fer models fetch yunet`
    """
    from fer_pipeline.inference.detection.yunet_download import YUNET_URL, fetch_yunet

    if what != YUNET_NAME:
        raise ParamsError(f"{what} cannot be fetched, expected {YUNET_NAME}")
    target = to or fetched_yunet()
    new = fetch_yunet(target, url or YUNET_URL)
    results.print(f"{'fetched' if new else 'already there:'} {target}, SHA-256 as pinned", markup=False)


def trained_on(
    model: Annotated[str, typer.Argument(help="Folder of a trained or exported model, or a version of the registry (`fer/3`).")],
    processed: Annotated[Path, typer.Option(help="Processed table whose train split the model was trained on.")],
) -> None:
    """Note which pictures a model learned from, where its folder lacks the list, as one of an earlier release.

    Without the list it takes part in nothing that would measure, calibrate or let it teach on pictures that it knows.

    Example: `fer models trained-on old/export --processed data/processed`
    """
    from fer_pipeline.data.table.training_images import note_training_pictures

    folder = model_path(model)
    count = note_training_pictures(folder, processed)
    results.print(f"{folder} now names the {count:,} pictures of the train split of {processed}", markup=False)
