"""Each operation of the OpenAPI document has code in three languages, and answers to show."""

from __future__ import annotations

import ast
import subprocess
from typing import Any

import jsonschema
import pytest

from fer_pipeline.serving.app import create_app
from fer_pipeline.serving.reference.examples import ADDRESS, LANGUAGES, SAMPLES
from fer_pipeline.serving.reference.page import reference_page

DOCUMENT = create_app().openapi()
OPERATIONS = [(path, operation) for path, each in DOCUMENT["paths"].items() for operation in each.values()]


@pytest.mark.parametrize(("path", "operation"), OPERATIONS)
def test_each_operation_has_an_example_in_each_language(path: str, operation: dict[str, Any]) -> None:
    sources = {sample["label"]: sample["source"] for sample in operation[SAMPLES]}
    assert tuple(sources) == LANGUAGES
    for source in sources.values():
        assert f"{ADDRESS}{path.partition('{')[0]}" in source
        assert ("Bearer TOKEN" in source) is ("security" in operation)
    ast.parse(sources["Python"])
    assert subprocess.run(["bash", "-n", "-c", sources["curl"]], check=False).returncode == 0


def test_each_json_answer_has_an_example_of_its_schema() -> None:
    shown = 0
    for path, operation in OPERATIONS:
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/json", {})
            if status.startswith("2") and content and "name" not in path:  # a file of a video is as it is
                jsonschema.validate(content["example"], {**content["schema"], "components": DOCUMENT["components"]})
                shown += 1
    assert shown >= 9


def test_the_page_names_each_operation_and_hides_nothing() -> None:
    page = reference_page(DOCUMENT)
    for path, each in DOCUMENT["paths"].items():
        for method, operation in each.items():
            assert f"<span>{method.upper()}</span> {path}" in page
            assert len(operation["description"]) > 20
    assert page.count("<details") >= 3 * len(OPERATIONS)


def test_what_the_document_says_is_no_html() -> None:
    operation = {"tags": ["a"], "description": "<script>`<b>`", "responses": {}, "parameters": [], SAMPLES: []}
    page = reference_page({"info": {"description": "<i>"}, "paths": {'/"><script>': {"get": operation}}})
    assert "<script>" not in page
    assert "<code>&lt;b&gt;</code>" in page
