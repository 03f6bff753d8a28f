"""Check the logged predictions of a model for drift."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np

from fer_pipeline.config.params import DriftParams
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.data.table.training_images import ImageHashes, load_held_out, read_training_images, share_seen
from fer_pipeline.errors import ModelError, MonitoringError, SourceError
from fer_pipeline.imaging import UInt8Array
from fer_pipeline.inference.classifier import EmotionClassifier
from fer_pipeline.inference.quality import measure
from fer_pipeline.model_info import ModelInfo
from fer_pipeline.monitoring import drift, drift_report, log_files
from fer_pipeline.monitoring.observations import Observations

_BATCH = 256
_NAMED = 8

_MIN_SEEN = 0.5
"""Minimum share of the table's training images on which the model was trained.

Accepted corrections and another split leave far more, another data set nearly nothing.
"""

_OTHER_DATA = (
    "make the data of the model the source again (`fer data add`, `dvc repro preprocess`), or train and promote one on these"
)


@dataclass(frozen=True)
class DriftCheck:
    """Result of a drift check, and its page.

    On the predictions of the model `info` in the time `span`, a text. `other_models` counts logged predictions of other models
    in that time by fingerprint, `unreadable` names log files that could not be read. `unknown_training_data`: the model has no
    list of its training images.
    """

    info: ModelInfo
    span: str
    result: drift.DriftResult
    page: Path
    other_models: Mapping[str, int]
    unreadable: tuple[str, ...] = ()
    unknown_training_data: bool = False

    @property
    def advice(self) -> str:
        """Return what to do where drift could not be judged."""
        if self.result.rows or not self.other_models:
            return (
                "look further back (drift.max_window_hours of params.yaml, or --since), or wait for more pictures (bound: "
                "drift.min_rows)"
            )
        found = ", ".join(f"{model} ({rows:,})" for model, rows in self.other_models.items())
        return (
            f"the log holds predictions of {found}, none of {self.info.fingerprint}: give the folder of the served one as "
            "--model, or let the service serve this one"
        )

    @property
    def message(self) -> str:
        """Return verdict and window in one line.

        Where drift could not be judged, with what to do.
        """
        verdict = f"{self.result.verdict}, {self.span}"
        parts = [verdict] if self.result.judged else [f"{verdict}: {self.advice}", self._left_out]
        return "; ".join(filter(None, [*parts, drift_report.UNKNOWN_TRAINING_DATA if self.unknown_training_data else ""]))

    def markdown(self) -> str:
        """Return verdict, window and comparisons, or what to do, as Markdown."""
        lines = [f"# {self.result.verdict}", "", f"Model `{self.info.fingerprint}`, {self.span}.", ""]
        if self.result.judged:
            lines += ["| quantity | drift | what was found |", "|---|---|---|"]
            lines += [f"| {one.name} | {'yes' if one.drifted else 'no'} | {one.reason} |" for one in self.result.comparisons]
        else:
            lines.append(f"What to do: {self.advice}.")
        if self.unknown_training_data:
            lines += ["", f"{drift_report.UNKNOWN_TRAINING_DATA}."]
        if self.unreadable:
            lines += ["", f"{self._left_out[0].upper()}{self._left_out[1:]}."]
        return "\n".join([*lines, "", f"Page: `{self.page}`"])

    @property
    def _left_out(self) -> str:
        if not self.unreadable:
            return ""
        more = ", …" if len(self.unreadable) > _NAMED else ""
        return f"left out: {len(self.unreadable)} damaged file(s) of the log, {', '.join(self.unreadable[:_NAMED])}{more}"


def check(
    log: Path, model: Path, processed: Path, out: Path, params: DriftParams, since: datetime, until: datetime, widen: bool
) -> DriftCheck:
    """Compare logged predictions of a model with those on the validation split.

    The logged predictions are those of `since <= time < until`. Where there are fewer than `params.min_rows`, `widen` doubles the
    window up to `params.max_window_hours`, so that a service with few images a day can be judged.

    Replaces the folder `out`: drift.json, report.html. Raises `MonitoringError` where there is no log, or the split does not
    belong to the model's data, `ModelError` where the model does not load.
    """
    classifier = EmotionClassifier.load(model, threads=2)
    info = classifier.info
    window, start = log_files.read(log, since, until, info.fingerprint), since
    earliest = until - timedelta(hours=params.max_window_hours)
    while widen and len(window.observations) < params.min_rows and start > earliest:
        start = max(start - (until - start), earliest)
        window = log_files.read(log, start, until, info.fingerprint)
    span = _span(start, until)
    if start < since:
        span += f" ({_hours(since, until)} hours held too few predictions, so they were widened to {_hours(start, until)})"
    reference = reference_of(classifier, model, processed)
    # Serving measures the face before the image spec's denoising and contrast, the table holds it after them.
    plain = (info.image_spec.denoise, info.image_spec.contrast) == ("none", "none")
    result = drift.compare(reference, window.observations, params, drift.IMAGE_QUANTITIES if plain else ())
    unknown_training_data = read_training_images(model) is None
    page = drift_report.write(out, result, reference, window, info, span, unknown_training_data=unknown_training_data)
    return DriftCheck(info, span, result, page, window.other_versions, window.unreadable, unknown_training_data)


def reference_of(classifier: EmotionClassifier, model: Path, processed: Path) -> Observations:
    """Predict the validation rows on which the model was not trained, each image once.

    All validation rows where the model has no list of its training images, so that any model can be monitored.

    Raises `MonitoringError` where the table is missing, holds another kind of faces or other data than the model's, or was
    prepared for another image spec, or where the model was trained on nearly all of these rows.
    """
    try:
        table = ProcessedTable.open(processed)
        classifier.info.check_table(table.metadata, model="the model", table=processed)
        known = read_training_images(model)
        _check_data(classifier.info, known, table)
        faces = table.split("validation") if known is None else load_held_out(table, {str(model): model})
    except (SourceError, ModelError) as error:  # whose exit code would mean drift
        raise MonitoringError(f"no reference to compare with: {error}") from error
    images: UInt8Array = faces.images[faces.unseen]
    if not len(images):
        raise MonitoringError(f"{processed} has no validation row without a copy in training: no reference to compare with")
    return observe(classifier, images)


def observe(classifier: EmotionClassifier, images: UInt8Array) -> Observations:
    """Predict model inputs uint8 (N, 48, 48, 1), N >= 1, and measure their quality."""
    qualities = [measure(image[:, :, 0]) for image in images]
    return Observations(
        np.concatenate([classifier.probabilities(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]),
        *(np.array([getattr(quality, name) for quality in qualities]) for name in ("sharpness", "brightness", "contrast")),
    )


def _check_data(info: ModelInfo, known: ImageHashes | None, table: ProcessedTable) -> None:
    # By content: a data version changes with each accepted correction, and a name does not identify the content.
    name = table.metadata["source"]["name"]
    if known is None:
        if name != info.data:  # all that is known of the data of a model without a list
            raise MonitoringError(f"the model was trained on {info.data}, {table.path} holds {name}: {_OTHER_DATA}")
        return
    share = share_seen(table, known)
    if share < _MIN_SEEN:
        raise MonitoringError(
            f"the model was trained on other data ({info.data}): it learned from {share:.0%} of the training pictures of "
            f"{table.path} ({name}), expected at least {_MIN_SEEN:.0%}: {_OTHER_DATA}"
        )


def _span(since: datetime, until: datetime) -> str:
    return f"{since.astimezone(UTC):%Y-%m-%d %H:%M} to {until.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _hours(since: datetime, until: datetime) -> str:
    return f"{(until - since).total_seconds() / 3600:,.4g}"
