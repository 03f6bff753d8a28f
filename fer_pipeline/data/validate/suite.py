"""Run the data checks with Great Expectations, in memory; errors stop the run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig

from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.validate import frames, report
from fer_pipeline.data.validate.expectations import WARNING, suites
from fer_pipeline.data.validate.frames import Check, QualityData
from fer_pipeline.errors import DataQualityError
from fer_pipeline.workspace.files import replaced_folder, write_json

_WHERE: Final = {"rows": ["id"], "classes": ["split", "emotion"], "table": [], "fields": []}
"""The columns that locate a value of a frame."""


@dataclass(frozen=True)
class QualityResult:
    """The outcome of all checks, in the order of the suite."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> int:
        """Number of checks that hold."""
        return sum(check.success for check in self.checks)

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each failed check of severity warning."""
        return tuple(check.sentence() for check in self.checks if not check.success and check.severity == "warning")

    @property
    def errors(self) -> tuple[str, ...]:
        """One sentence for each failed check of severity error."""
        return tuple(check.sentence() for check in self.checks if not check.success and check.severity == "error")


def validate(processed: Path, quarantine: Path, out: Path, params: ValidateParams) -> QualityResult:
    """Check the processed table; write index.html and validation.json into `out`.

    Raises `DataQualityError`, after writing both, where a check of severity error fails, `SourceError` for unreadable tables.
    """
    data = frames.read(processed, quarantine)
    result = QualityResult(tuple(check_all(data, params)))
    with replaced_folder(out) as aside:
        write_json(
            aside / "validation.json", {"success": not result.errors, "checks": [asdict(check) for check in result.checks]}
        )
        report.write(aside / "index.html", processed, data, result.checks)
    if result.errors:
        raise DataQualityError(f"{len(result.errors)} data checks failed (see {out}/index.html): " + "; ".join(result.errors))
    return result


def check_all(data: QualityData, params: ValidateParams) -> list[Check]:
    """Run each expectation on its frame."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("processed")
    checks: list[Check] = []
    for frame, expectations in suites(data, params).items():
        batches = source.add_dataframe_asset(frame).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=frame, expectations=expectations))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=frame, data=batches, suite=suite))
        outcome = definition.run(
            batch_parameters={"dataframe": getattr(data, frame)},
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": _WHERE[frame]},
        )
        found = [_check(result, frame) for result in outcome.results]
        order = [expectation.meta["name"] for expectation in expectations]  # results of a raised exception come first
        checks += sorted(found, key=lambda check: order.index(check.name))
    return checks


def _check(result: Any, frame: str) -> Check:
    config = result.expectation_config
    column = str(config.kwargs.get("column", ""))
    return Check(
        name=config.meta["name"],
        column=column,
        severity="warning" if config.severity == WARNING else "error",
        success=bool(result.success),
        observed=_observed(result.result, column, frame) if result.result else f"an exception: {result.exception_info}"[:300],
        expected=config.meta["expected"],
        note=config.notes,
    )


def _observed(found: Mapping[str, Any], column: str, frame: str) -> str:
    if found.get("partial_missing_list") or (frame == "fields" and found.get("partial_unexpected_list")):
        lists = {"missing": found["partial_missing_list"], "unknown": found["partial_unexpected_list"]}
        return "; ".join(f"{word} {', '.join(map(str, values))}" for word, values in lists.items() if values)
    if frame == "fields":
        return "as expected"
    if "observed_value" in found:
        value = found["observed_value"]
        if column.endswith("_share") or "_share_" in column:
            return f"{value:.2%}"
        return f"{value:.1f}" if isinstance(value, float) else f"{value:,}"
    if not found["unexpected_count"]:
        return f"all of {found['element_count'] - found['missing_count']:,}"
    examples = [
        f"{_value(value, column)} in {'/'.join(str(place[name]) for name in _WHERE[frame])}"
        for value, place in zip(found["partial_unexpected_list"], found["partial_unexpected_index_list"], strict=False)
    ]
    return f"{found['unexpected_count']:,} others: {', '.join(examples[:7])}{', ...' if found['unexpected_count'] > 7 else ''}"


def _value(value: Any, column: str) -> str:
    return f"{value:.1%} away" if column == "deviation" else f"{column} {value}"
