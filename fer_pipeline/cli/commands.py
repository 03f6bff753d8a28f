"""List the commands of `fer` by help panel; import each when it is called."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any, Final, NamedTuple

import typer
from typer.main import get_command

from fer_pipeline.cli.renamed import add_renamed


class Entry(NamedTuple):
    """A command or group: `module:attribute` in this room, and its summary.

    The summary is the first line of its help, kept here so that the list of commands is shown without importing them.
    """

    target: str
    summary: str


PANELS: Final[dict[str, dict[str, Entry]]] = {
    "Run": {
        "run": Entry("pipeline:run", "Run the pipeline: raw faces to a packaged champion."),
        "status": Entry("status:status", "Print champion, challenger, bundle, data in use, last runs and disk use."),
        "report": Entry("pipeline:report", "Print the paths of the report pages."),
        "profile": Entry("profile:app", "Recipes of training by name."),
        "doctor": Entry("doctor:doctor", "Check Java, versions, ports, disk and data; print a remedy for each fault."),
    },
    "Data": {
        "data": Entry("data:app", "Bring raw data in, under DVC."),
        "feedback": Entry("feedback:app", "Review what people corrected, and make it training data."),
        "label-noise": Entry("tune:label_noise", "Find suspicious training labels by out-of-fold predictions."),
        "fetch": Entry("stages:fetch", "Read a source as it is into a table of raw rows."),
        "preprocess": Entry("stages:preprocess", "Parse, check, gray, resize, hash and split the rows in Spark."),
        "validate": Entry("stages:validate", "Check the processed table with Great Expectations and write the data page."),
    },
    "Train and measure": {
        "train": Entry("stages:train", "Train the network of the recipe in params.yaml."),
        "evaluate": Entry("stages:evaluate", "Calibrate on validation, measure on test, write the report."),
        "tune": Entry("tune:tune", "Search for a better recipe with Optuna."),
        "baseline": Entry("tune:baseline", "Train, measure and register HOG features with logistic regression."),
        "evaluate-dataset": Entry("evaluate:evaluate_dataset", "Measure a model on a data set that it never saw."),
        "robustness": Entry("evaluate:robustness", "Measure accuracy on corrupted test pictures."),
        "explain-report": Entry("explain:explain_report", "Compare LIME, Grad-CAM and occlusion maps: which to trust?"),
        "card": Entry("evaluate:card", "Write the model card."),
    },
    "Models": {
        "models": Entry("models:app", "The registered models."),
        "promote": Entry("promote:promote", "Compare a version with the champion, and promote it if it wins."),
        "rollback": Entry("promote:rollback", "Make an earlier champion the champion again, with its bundle."),
        "package": Entry("promote:package", "Build and try the BentoML bundle of the champion."),
        "export": Entry("stages:export", "Write the model as ONNX, and check it against Keras."),
        "distill": Entry("derive:distill", "Store the knowledge of teachers under DVC, and train with it from now on."),
        "ensemble": Entry("derive:ensemble", "Merge models into one ONNX file, and measure it beside them."),
        "adjust-logits": Entry("derive:adjust_logits", "Shift a model's logits by class, to find rare emotions more often."),
    },
    "Use": {
        "predict": Entry("predict:predict", "Name the emotions of all faces in pictures."),
        "video": Entry("video:video", "Follow the emotions of each person through videos."),
        "camera": Entry("camera:camera", "Show a live camera in a window, with faces and emotions drawn in."),
        "explain": Entry("explain:explain", "Show which parts of a face speak for each emotion."),
        "score": Entry("predict:score", "Name the emotions of all faces in large sets of pictures, in Spark."),
        "serve": Entry("serve:serve", "Serve the champion, or a pretrained model, with BentoML."),
    },
    "Operate": {
        "monitor": Entry("monitor:app", "What the deployed model sees and answers."),
        "shadow": Entry("shadow:app", "A challenger that judges what the service gets, without answering."),
        "ui": Entry("ui:app", "Open the MLflow or the Prefect user interface."),
    },
}

ENTRIES: Final = {name: entry for panel in PANELS.values() for name, entry in panel.items()}


@cache
def load(name: str) -> Any:
    """Import a command, or a group with its commands, as typer runs it."""
    module, _, attribute = ENTRIES[name].target.partition(":")
    target = getattr(import_module(f"fer_pipeline.cli.{module}"), attribute)
    holder = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    if isinstance(target, typer.Typer):
        add_renamed(target, name)
        holder.add_typer(target, name=name)
        group: Any = get_command(holder)
        return group.commands[name]
    holder.command(name)(target)
    return get_command(holder)
