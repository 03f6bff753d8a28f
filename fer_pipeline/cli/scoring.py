"""`fer score`: the emotions of pictures that outgrow one machine."""

from __future__ import annotations

import sys
from typing import Annotated, Literal

import typer

from fer_pipeline.cli.console import results
from fer_pipeline.cli.inference import Detector, Model, Threshold
from fer_pipeline.cli.options import chosen_detector_file, chosen_model
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.locks import exclusive


def score(
    source: Annotated[str, typer.Option("--input", help="Folder tree of pictures, Parquet file or folder of such; or its URI.")],
    output: Annotated[str, typer.Option(help="Folder to write, or its URI; a run that was stopped goes on in it.")],
    master: Annotated[str, typer.Option(help="Spark master: local[*], or spark://HOST:PORT of a cluster.")] = "local[*]",
    model: Model = None,
    detector: Detector = None,
    faces: Annotated[
        str, typer.Option(help="detect (search each picture for faces) or crop (each picture is one face).")
    ] = "detect",
    threshold: Threshold = 0.4,
    chunk: Annotated[int, typer.Option(help="Pictures of a folder that are finished together.", min=1)] = 2000,
) -> None:
    """Name the emotions of all faces in large sets of pictures, in Spark; a Parquet row per face, errors included.

    A cluster needs this package on each machine, and input and output on a file system that all of them share, or in buckets:
    s3://BUCKET/NAME or gs://BUCKET/NAME, with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_DEFAULT_REGION, AWS_ENDPOINT_URL or
    GOOGLE_APPLICATION_CREDENTIALS in the environment of each machine.

    Example: `fer score --input photos --output scores`, then `pandas.read_parquet("scores/faces")`
    """
    from tqdm import tqdm

    from fer_pipeline.inference.detection.detectors import published_yunet
    from fer_pipeline.inference.model_files import PortableModel
    from fer_pipeline.scoring import score as scoring
    from fer_pipeline.scoring.outputs import FACES
    from fer_pipeline.scoring.storage import location

    if faces not in ("detect", "crop"):
        raise ParamsError(f"--faces is {faces}, expected detect or crop")
    framing: Literal["detect", "crop"] = "crop" if faces == "crop" else "detect"
    detector = chosen_detector_file(detector)
    if detector is not None:
        published_yunet(detector)
    portable = PortableModel.read(chosen_model(model), detector)
    pictures, out = location(source), location(output)
    with exclusive(out.lock, "fer score"), tqdm(unit=" pictures", file=sys.stderr) as bar:

        def advance(facts: scoring.ScoreFacts) -> None:
            bar.set_postfix(faces=facts.faces, errors=facts.errors, refresh=False)
            bar.update(facts.pictures - bar.n)

        facts = scoring.score(
            pictures, out, portable, master=master, faces=framing, threshold=threshold, chunk=chunk, on_progress=advance
        )
    results.print(f"{facts.summary()}; table: {out.child(FACES).address}")
