"""Run the data checks with Great Expectations; errors stop the run."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig

from fer_pipeline.config.params import ValidateParams
from fer_pipeline.data.validate import frames, report
from fer_pipeline.data.validate.expectations import WARNING, suites
from fer_pipeline.data.validate.frames import Check, QualityData
from fer_pipeline.data.validate.summary import Summary
from fer_pipeline.errors import DataQualityError
from fer_pipeline.workspace.files import replaced_folder, write_json

_WHERE: Final[dict[str, list[str]]] = {"rows": [], "classes": ["split", "emotion"], "table": [], "fields": []}
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


def validate(
    processed: Path,
    quarantine: Path,
    out: Path,
    params: ValidateParams,
    master: str = "local[*]",
    data_docs: Path | None = None,
) -> QualityResult:
    """Check the processed table; write the page and the results.

    `out` gets index.html, validation.json and great_expectations.json. The last holds the results as Great Expectations gives
    them; `data_docs` is a folder for its pages of them. `master` is where Spark runs for a large table. Raises
    `DataQualityError`, after writing all, where a check of severity error fails, `SourceError` for unreadable tables,
    `ToolUnavailableError` where Spark fails.
    """
    data = frames.read(processed, quarantine, master)
    with ExitStack() as stack:
        site = None if data_docs is None else stack.enter_context(replaced_folder(data_docs))
        outcomes = check_all(data, params, site)
        result = QualityResult(tuple(check for outcome in outcomes for check in outcome.checks))
        aside = stack.enter_context(replaced_folder(out))
        write_json(
            aside / "validation.json", {"success": not result.errors, "checks": [asdict(check) for check in result.checks]}
        )
        write_json(aside / "great_expectations.json", [outcome.result for outcome in outcomes])
        report.write(aside / "index.html", processed, data, result.checks, master)
    if result.errors:
        raise DataQualityError(f"{len(result.errors)} data checks failed (see {out}/index.html): " + "; ".join(result.errors))
    return result


@dataclass(frozen=True)
class Outcome:
    """The checks of one frame.

    `result` is what Great Expectations gives, without its times and identifiers.
    """

    checks: tuple[Check, ...]
    result: dict[str, Any]


def check_all(data: QualityData, params: ValidateParams, data_docs: Path | None = None) -> list[Outcome]:
    """Run each expectation on its frame.

    `data_docs` is a folder for Great Expectations' pages of the results.
    """
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("processed")
    if data_docs is not None:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(data_docs.absolute())}
        builder = {"class_name": "DefaultSiteIndexBuilder"}
        context.add_data_docs_site("data", {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": builder})
    outcomes: list[Outcome] = []
    for frame, expectations in suites(data, params).items():
        batches = source.add_dataframe_asset(frame).add_batch_definition_whole_dataframe("all")
        suite = context.suites.add(gx.ExpectationSuite(name=frame, expectations=expectations))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=frame, data=batches, suite=suite))
        outcome = definition.run(
            batch_parameters={"dataframe": getattr(data, frame)},
            result_format={"result_format": "SUMMARY", "unexpected_index_column_names": _WHERE[frame]},
        )
        found = [_check(result, frame, data.summary) for result in outcome.results]
        order = [expectation.meta["name"] for expectation in expectations]  # results of a raised exception come first
        checks = sorted(found, key=lambda check: order.index(check.name))
        found_json = outcome.to_json_dict()  # type: ignore[no-untyped-call]
        outcomes.append(Outcome(tuple(checks), _plain(found_json)))
    if data_docs is not None:
        context.build_data_docs()
    return outcomes


def _plain(result: dict[str, Any]) -> dict[str, Any]:
    """Leave out what differs between two runs on equal data."""
    plain = {key: value for key, value in result.items() if key not in {"id", "meta"}}
    for single in plain["results"]:
        single["expectation_config"].pop("id", None)
        single["expectation_config"]["kwargs"].pop("batch_id", None)
    return plain


def _check(result: Any, frame: str, summary: Summary) -> Check:
    config = result.expectation_config
    column = str(config.kwargs.get("column", ""))
    found = result.result
    if found:
        observed = _observed_rows(column, summary) if frame == "rows" else _observed(found, column, frame)
    else:
        observed = f"an exception: {result.exception_info}"[:300]
    return Check(
        name=config.meta["name"],
        column=column,
        severity="warning" if config.severity == WARNING else "error",
        success=bool(result.success),
        observed=observed,
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
    return _others(found["unexpected_count"], examples)


def _observed_rows(column: str, summary: Summary) -> str:
    if column == "rows":
        return f"{summary.rows:,}"
    if not summary.faults[column]:
        return f"all of {summary.values[column]:,}"
    return _others(summary.faults[column], [f"{column} {value} in {row_id}" for value, row_id in summary.examples[column]])


def _others(count: int, examples: list[str]) -> str:
    return f"{count:,} others: {', '.join(examples[:7])}{', ...' if count > 7 else ''}"


def _value(value: Any, column: str) -> str:
    return f"{value:.1%} away" if column == "deviation" else f"{column} {value}"
