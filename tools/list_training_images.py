"""Write the list of training images that an old model lacks.

Run `python -m tools.list_training_images MODEL --processed TABLE`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fer_pipeline import environment
from fer_pipeline.cli import run_command
from fer_pipeline.cli.options import model_path, results


def list_images(
    model: Annotated[str, typer.Argument(help="Folder of a trained or exported model, or a version of the registry (`fer/3`).")],
    processed: Annotated[Path, typer.Option(help="Processed table whose train split the model was trained on.")],
) -> None:
    """List the training pictures of a model in its folder.

    It is for models of an earlier release, which have no such list.

    Without the list the model is refused wherever it would be measured or calibrated, or teach, on pictures that it knows.
    """
    from fer_pipeline.data.table.reader import ProcessedTable
    from fer_pipeline.data.table.training_images import add_training_images

    folder = model_path(model)
    count = add_training_images(folder, ProcessedTable.open(processed))
    results.print(f"{folder} now names the {count:,} pictures of the train split of {processed}")


if __name__ == "__main__":
    environment.apply()
    run_command(lambda: typer.run(list_images))
