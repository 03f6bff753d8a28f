"""Train without MLflow and DVC, on a machine with little more than Keras."""

from __future__ import annotations

from pathlib import Path

from fer_pipeline.config.training import TrainParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.soft_labels import load_training_faces
from fer_pipeline.data.table.training_images import training_image_hashes
from fer_pipeline.training.artifacts import TrainingResult, write_model
from fer_pipeline.training.checkpoints import discard
from fer_pipeline.training.train import train


def train_untracked(
    processed: Path, out: Path, checkpoints: Path, params: TrainParams, soft_labels: Path, teachers: Path
) -> TrainingResult:
    """Train on the processed table and replace the folder `out` by the model.

    Its training.json names no MLflow run.

    Resumes from `checkpoints`, and removes it in the end. `soft_labels` is read where the recipe softens labels, `teachers`
    where it has teachers. Raises what `train` raises, and `SourceError` where the table or the soft labels cannot be read.
    """
    table = ProcessedTable.open(processed)
    result = train(*load_training_faces(processed, soft_labels, params), params, checkpoints, teachers=teachers)
    write_model(out, result, params, table.metadata, training_image_hashes(table), run_id=None)
    discard(checkpoints)
    return result
