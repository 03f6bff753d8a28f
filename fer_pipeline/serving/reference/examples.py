"""Example code of each operation, made from the OpenAPI document.

The names in it stand for what a reader has: files, the token of the service, the id of a video, the receipt of a correction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ADDRESS = "http://127.0.0.1:3000"
TOKEN, FACE_TOKEN = "TOKEN", "FACE_TOKEN"
ID = "0123456789abcdef0123456789abcdef"
"""Of a video, or of a correction."""

SAMPLES = "x-codeSamples"
"""Key of the examples in an operation: a list of `lang`, `label` and `source`, as viewers of OpenAPI know it."""

LANGUAGES = ("curl", "Python", "JavaScript")

_FILES = {"picture": ("portrait.jpg",), "pictures": ("first.jpg", "second.png"), "video": ("talk.mp4",)}
_VALUES = {"token": FACE_TOKEN, "correction": "sad", "job": ID, "receipt": ID, "name": "faces.csv"}
_SUFFIXES = {"image/jpeg": ".jpg", "image/png": ".png", "text/html": ".html", "application/wasm": ".wasm"}
_EVENTS = "text/event-stream"


@dataclass(frozen=True)
class _Call:
    method: str
    url: str
    secured: bool
    files: tuple[tuple[str, str], ...]  # form field and file
    texts: tuple[tuple[str, str], ...]
    answer: str | None  # the kind of its body

    @property
    def target(self) -> str | None:
        """Name of the file that takes the answer; None for what is printed."""
        if self.answer in (None, "application/json", _EVENTS):
            return None
        return self.url.rpartition("/")[2] + _SUFFIXES.get(self.answer or "", "")


def add_examples(document: dict[str, Any]) -> None:
    """Add to each operation its code, and to each JSON answer an example."""
    schemas = document["components"]["schemas"]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            call = _call(method.upper(), path, operation)
            sources = (_curl(call), _python(call), _javascript(call))
            operation[SAMPLES] = [
                {"lang": "bash" if name == "curl" else name, "label": name, "source": "\n".join(lines)}
                for name, lines in zip(LANGUAGES, sources, strict=True)
            ]
            for status, answer in operation["responses"].items():
                content = answer.get("content", {}).get("application/json", {})
                if status.startswith("2") and content and content["schema"].get("format") != "binary":
                    content["example"] = _sample(content["schema"], schemas)


def _call(method: str, path: str, operation: dict[str, Any]) -> _Call:
    for parameter in operation.get("parameters", []):
        if parameter["in"] == "path":
            path = path.replace(f"{{{parameter['name']}}}", _VALUES[parameter["name"]])
    form = operation.get("requestBody", {}).get("content", {}).get("multipart/form-data", {}).get("schema", {})
    needed = form.get("required", [])
    answers = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
    kinds = list(answers.get("content", {}))
    return _Call(
        method,
        ADDRESS + path,
        "security" in operation,
        tuple((field, file) for field in needed for file in _FILES.get(field, ())),
        tuple((field, _VALUES[field]) for field in needed if field not in _FILES),
        "application/octet-stream" if path.endswith(_VALUES["name"]) else kinds[0] if kinds else None,
    )


def _curl(call: _Call) -> Iterator[str]:
    options = [f'--header "Authorization: Bearer {TOKEN}"'] if call.secured else []
    options += [f"--form {field}=@{file}" for field, file in call.files]
    options += [f"--form {field}={value}" for field, value in call.texts]
    if call.target is not None:
        options.append(f"--output {call.target}")
    if call.answer == _EVENTS:
        options.append("--no-buffer")
    if call.method != ("POST" if call.files or call.texts else "GET"):
        options.append(f"--request {call.method}")
    lines = ["curl " + option if number == 0 else "  " + option for number, option in enumerate(options)]
    yield " \\\n".join([*lines, f"  {call.url}"]) if lines else f"curl {call.url}"


def _python(call: _Call) -> Iterator[str]:
    if call.files or call.target is not None:
        yield "from pathlib import Path\n"
    yield "import httpx\n"
    if call.answer == _EVENTS:
        yield f'with httpx.stream("GET", "{call.url}", timeout=60) as answer:'
        yield "    for line in answer.iter_lines():"
        yield "        print(line)"
        return
    yield f"answer = httpx.{call.method.lower()}("
    yield f'    "{call.url}",'
    if call.secured:
        yield f'    headers={{"Authorization": "Bearer {TOKEN}"}},'
    if call.files or call.texts:  # a form also where it has no file
        parts = [f'("{field}", Path("{file}").read_bytes())' for field, file in call.files]
        parts += [f'("{field}", (None, "{value}"))' for field, value in call.texts]
        yield f"    files=[{', '.join(parts)}],"
    yield "    timeout=60,"
    yield ")"
    yield "answer.raise_for_status()"
    if call.target is not None:
        yield f'Path("{call.target}").write_bytes(answer.content)'
    elif call.answer is not None:
        yield "print(answer.json())"


def _javascript(call: _Call) -> Iterator[str]:
    if call.answer == _EVENTS:
        yield f'const events = new EventSource("{call.url}");'
        yield 'events.addEventListener("state", (event) => {'
        yield "  const video = JSON.parse(event.data);"
        yield "  console.log(video.state, video.progress);"
        yield '  if (!["queued", "running"].includes(video.state)) events.close();'
        yield "});"
        return
    options = [f'method: "{call.method}"'] if call.method != "GET" else []
    if call.secured:
        options.append(f'headers: {{ Authorization: "Bearer {TOKEN}" }}')
    if call.files or call.texts:
        options.append("body: form")
        if call.files:
            yield 'const files = document.querySelector("input[type=file]").files;'
        yield "const form = new FormData();"
        yield from (f'form.append("{field}", files[{number}]);' for number, (field, _) in enumerate(call.files))
        yield from (f'form.append("{field}", "{value}");' for field, value in call.texts)
    yield f'const answer = await fetch("{call.url}"' + (", {" if options else ");")
    if options:
        yield from (f"  {option}," for option in options)
        yield "});"
    yield "if (!answer.ok) throw new Error((await answer.json()).error.message);"
    if call.target is not None:
        yield "const content = await answer.blob();"
    elif call.answer is not None:
        yield "console.log(await answer.json());"


def _sample(schema: dict[str, Any], schemas: dict[str, Any]) -> Any:
    """Return the example or default of a schema, or else the plainest value."""
    if "$ref" in schema:
        return _sample(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    if schema.get("examples"):
        return schema["examples"][0]
    if "default" in schema:
        return schema["default"]
    if "anyOf" in schema:
        return _sample(schema["anyOf"][0], schemas)
    if "enum" in schema:
        return schema["enum"][0]
    if "properties" in schema:
        return {name: _sample(field, schemas) for name, field in schema["properties"].items()}
    plain = {"string": "...", "number": 0.5, "integer": 1, "boolean": False, "object": {}, "null": None}
    return [_sample(schema["items"], schemas)] if schema.get("type") == "array" else plain.get(schema.get("type", ""), {})
