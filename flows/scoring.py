"""The flow of batch scoring: all faces of a large set of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from prefect import flow
from prefect.artifacts import create_markdown_artifact
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

    With the champion's bundle, or with the exported model in the folder `model`. Source and output are paths, or s3:// or gs://
    URIs. What an earlier run of the same output has finished is not done again. A `FerError` becomes a failed state with its
    message.
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
    create_markdown_artifact(
        f"{facts.summary()}\n\nTable: `{out.child(FACES).address}`",
        key="fer-scores",
        description="What batch scoring found",
    )
    return facts
