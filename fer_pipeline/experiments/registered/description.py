"""Describe a registered version: what it is, how good, on which data."""

from __future__ import annotations

from mlflow.entities import Run

from fer_pipeline.experiments.records import EXPORT_PATH
from fer_pipeline.model_info import CARD_FILE, ModelInfo

_FIGURES = {
    "accuracy": "of the labels of the test split",
    "accuracy_dedup": "of those whose picture has no copy in training",
    "vote_agreement": "of the emotions with most FER+ votes",
}
_SCORES = {"macro_f1": "macro-F1", "ece": "ECE"}
_ORIGIN = {"data_version": "version", "git_commit": "code"}


def describe(info: ModelInfo, run: Run, model_id: str) -> str:
    """Return the description of a version as Markdown, for MLflow's pages.

    `run` is that of the training, `model_id` MLflow's id of the logged model. The link to the card is relative to the pages.
    """
    experiment = f"#/experiments/{run.info.experiment_id}"
    good = [f"{100 * info.metrics[key]:.1f} % {words}" for key, words in _FIGURES.items() if key in info.metrics]
    good += [f"{word} {info.metrics[key]:.3f}" for key, word in _SCORES.items() if key in info.metrics]
    faces = "drawn faces, for trying the pipeline alone" if info.synthetic else "real faces"
    origin = [f"{word} `{info.lineage[key]}`" for key, word in _ORIGIN.items() if key in info.lineage]
    return "\n\n".join(
        (
            f"**What**: network {info.network}, run [{run.info.run_name}]({experiment}/runs/{run.info.run_id}); a face in, "
            "calibrated probabilities of seven emotions out.",
            f"**How good**: {', '.join(good) or 'not measured'}.",
            f"**On which data**: {', '.join([info.data, faces, *origin])}.",
            f"**Card**: `{EXPORT_PATH}/{CARD_FILE}` among [the files of the model]({experiment}/models/{model_id}/artifacts).",
        )
    )
