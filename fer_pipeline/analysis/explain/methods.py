"""Compare the explanation methods by the faithfulness of their maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fer_pipeline.analysis.explain.faithfulness import Explain, Faithfulness, measure_faithfulness
from fer_pipeline.analysis.explain.picture import METHODS, explainer
from fer_pipeline.analysis.explain.report import examples_figure, write_explanations
from fer_pipeline.data.table.reader import ProcessedTable
from fer_pipeline.errors import ModelError, ToolUnavailableError
from fer_pipeline.inference.classifier import EmotionClassifier


@dataclass(frozen=True)
class MethodComparison:
    """Faithfulness of each method and baseline.

    `absent` holds the reason by method for those that could not run.
    """

    rows: tuple[Faithfulness, ...]
    absent: Mapping[str, str]


def compare_methods(model: Path, processed: Path, out: Path, *, sample_size: int, seed: int) -> MethodComparison:
    """Measure the faithfulness of all methods, and write the report to `out`.

    Raises `ModelError` where model and table have different image specs, or there is no such model or table.
    """
    classifier = EmotionClassifier.load(model, threads=2)
    table = ProcessedTable.open(processed)
    classifier.info.check_image_spec(table.metadata, model=model, table=processed)
    test = table.split("test")
    methods: dict[str, Explain] = {}
    absent: dict[str, str] = {}
    for method in METHODS:
        try:
            methods[method] = explainer(method, model, classifier, seed)
        except (ToolUnavailableError, ModelError) as error:
            absent[method] = str(error).replace(f"{model}/", "")  # a card goes to other machines
    rows = measure_faithfulness(test, classifier.probabilities, methods, sample_size=sample_size, seed=seed)
    examples = examples_figure(test, classifier.probabilities, methods)
    write_explanations(out, rows, examples, classifier.info, sample_size=min(sample_size, len(test)), absent=absent)
    return MethodComparison(rows, absent)
