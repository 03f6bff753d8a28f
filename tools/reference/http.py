"""Describe the routes of the service, from its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fer_pipeline.serving.app import create_app
from tools.reference.markdown import table

_HEAD = """# HTTP

`fer serve` answers at http://127.0.0.1:3000. Examples for each route are at `/docs`, its OpenAPI document is at
`/openapi.json`, and this page is made from that by
`python -m tools.reference`. [The service](service.md) says what the operator can set, and how a token is sent.
An answer that is not 2xx is `{"error": {"code": ..., "message": ...}}`:
"""
_REFUSALS = ("400", "401", "403", "404", "408", "409", "413", "415", "422", "429")


def page() -> str:
    """Return docs/http.md."""
    document = create_app().openapi()
    operations = [(method, path, found) for path, each in document["paths"].items() for method, found in each.items()]
    parts = [_HEAD, _statuses(operations)]
    for tag in dict.fromkeys(found["tags"][0] for _, _, found in operations):
        parts.append(f"## {tag.capitalize()}")
        for method, path, found in operations:
            if found["tags"][0] == tag:
                parts += _operation(method.upper(), path, found)
    parts += ["## Live camera", document["info"]["description"], "## Types of the answers"]
    for name, schema in sorted(document["components"]["schemas"].items()):
        if name not in ("HTTPValidationError", "ValidationError"):  # FastAPI's own, which are answered as ErrorAnswer
            parts += _schema(name, schema)
    return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"


def _statuses(operations: list[tuple[str, str, Any]]) -> str:
    said = {status: answer["description"] for _, _, found in operations for status, answer in found["responses"].items()}
    return table(("status", "meaning"), [(status, said[status]) for status in _REFUSALS if status in said])


def _operation(method: str, path: str, found: dict[str, Any]) -> Iterator[str]:
    yield f"### {method} {path}"
    yield found.get("description", "")
    rows = [
        (f"`{one['name']}`", one["in"], _kind(one["schema"]), _default(one["schema"]), one.get("description", ""))
        for one in found.get("parameters", [])
    ]
    rows += list(_body(found.get("requestBody", {}).get("content", {})))
    if rows:
        yield table(("parameter", "in", "type", "default", "meaning"), rows)
    answers = [f"{status}, {_answer(answer)}" for status, answer in found["responses"].items() if status[0] in "23"]
    refusals = [status for status in found["responses"] if status in _REFUSALS]
    yield f"Answers: {'; '.join(answers)}. Refusals: {', '.join(refusals) or 'none'}."
    examples = [
        example["summary"]
        for content in found.get("requestBody", {}).get("content", {}).values()
        for example in content.get("examples", {}).values()
        if example.get("summary", "").startswith("curl ")
    ]
    if examples:
        yield "```bash\n" + "\n".join(examples) + "\n```"


def _body(content: dict[str, Any]) -> Iterator[tuple[str, str, str, str, str]]:
    for kind, body in content.items():
        schema = body["schema"]
        if "properties" not in schema:
            yield "", f"body, {kind}", _kind(schema), "", schema.get("description", "")
        for name, field in schema.get("properties", {}).items():
            default = "needed" if name in schema.get("required", []) else _default(field)
            yield f"`{name}`", f"form field, {kind}", _kind(field), default, field.get("description", "")


def _answer(answer: dict[str, Any]) -> str:
    content = answer.get("content", {})
    said = [f"{_kind(body.get('schema', {}))} as {kind}" if body.get("schema") else kind for kind, body in content.items()]
    return " or ".join(said) or "without a body"


def _schema(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}"
    yield schema.get("description", "")
    rows = [(f"`{key}`", _kind(field), field.get("description", "")) for key, field in schema.get("properties", {}).items()]
    if rows:
        yield table(("field", "type", "meaning"), rows)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if schema.get("type") == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_kind(schema['additionalProperties'])}"
    return str(schema.get("format") if schema.get("format") == "binary" else schema.get("type", "any"))


def _default(schema: dict[str, Any]) -> str:
    return f"`{schema['default']}`" if schema.get("default") is not None else ""
