"""The flow of batch scoring: all faces of a large set of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Failed

from fer_pipeline import environment
from fer_pipeline.data.storage import storage_location
from fer_pipeline.errors import FerError
from fer_pipeline.inference.model_files import PortableModel
from fer_pipeline.scoring import score
from fer_pipeline.scoring.outputs import FACES
from fer_pipeline.workspace import layout
from fer_pipeline.workspace.locks import exclusive
from flows.artifacts import publish
from flows.ends import LIMITS, advise


@flow(
    name="score-pictures",
    flow_run_name="score",
    timeout_seconds=LIMITS["score-pictures"],
    on_failure=[advise],
    on_crashed=[advise],
)
def score_pictures(
    source: str,
    output: str,
    model: str | None = None,
    master: str = "local[*]",
    faces: Literal["detect", "crop"] = "detect",
    wait_seconds: float = 0,
) -> score.ScoreProgress | State[score.ScoreProgress]:
    """Score a folder of pictures or a Parquet table.

    What an earlier run of the same output has finished is not done again.

    Args:
        source: Folder of pictures or Parquet table: a path, or an s3:// or gs:// URI.
        output: Folder to write the table of faces to, likewise.
        model: Folder of an exported model on the worker's machine. Left out: the champion's bundle.
        master: Spark master URL.
        faces: `detect` finds the faces in each picture; `crop` takes each picture as one face.
        wait_seconds: How long to wait for another run of the same output.

    Returns:
        What is done. A `FerError` becomes a failed state with its message.
    """
    environment.apply()
    root = Path.cwd()
    try:
        pictures, out = storage_location(source, root), storage_location(output, root)
        with exclusive(out.lock, "score-pictures", wait_seconds):
            portable = PortableModel.read(Path(model) if model else root / layout.BUNDLE)
            facts = score.score(pictures, out, portable, master=master, faces=faces)
    except FerError as error:
        return Failed(message=str(error), data=error)
    publish("fer-scores", f"{facts.summary()}\n\nTable: `{out.child(FACES).address}`", "What batch scoring found")
    return facts
