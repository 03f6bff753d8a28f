"""Page of all routes with example code, made from the OpenAPI document.

One static page without a script; its style is /web/docs.css.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html import escape
from typing import Any

from fer_pipeline.serving.reference.examples import ADDRESS, SAMPLES, TOKEN

_HEAD = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>fer: reference of the service</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/web/docs.css">
</head>
<body>
<header>
<h1>Reference of the service</h1>
<p>Made from <a href="/openapi.json">/openapi.json</a>, which generators of clients read.
<a href="/">The page of the service</a></p>
<p>The examples ask <code>{ADDRESS}</code>. <code>{TOKEN}</code> is the value of <code>FER_TOKEN</code>; where the operator
has set none, it may be left out. Python needs <code>httpx</code>. A page of another site needs its origin in
<code>FER_ALLOWED_ORIGINS</code>. A refusal is <code>{{"error": {{"code": ..., "message": ...}}}}</code>, and 429 says in
<code>Retry-After</code> when to come again.</p>
</header>
"""


def reference_page(document: dict[str, Any]) -> str:
    """Return the HTML page of a document with the examples of `examples.add_examples`."""
    tags: dict[str, list[tuple[str, str, dict[str, Any]]]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).append((method.upper(), path, operation))
    parts = [_HEAD, '<nav aria-label="Routes"><ul>']
    for listed in tags.values():
        parts += [f'<li><a href="#{_anchor(method, path)}">{method} {escape(path)}</a></li>' for method, path, _ in listed]
    parts.append('<li><a href="#live">WebSocket /live</a></li></ul></nav><main>')
    for tag, listed in tags.items():
        parts.append(f"<h2>{escape(tag.capitalize())}</h2>")
        for method, path, operation in listed:
            parts += _operation(method, path, operation)
    parts.append(f'<section id="live"><h2>Live camera</h2><p>{_text(document["info"]["description"])}</p></section>')
    return "\n".join([*parts, "</main></body></html>"]) + "\n"


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    anchor = _anchor(method, path)
    yield f'<section id="{anchor}" aria-labelledby="{anchor}-name">'
    yield f'<h3 id="{anchor}-name"><span>{method}</span> {escape(path)}</h3><p>{_text(operation.get("description", ""))}</p>'
    if operation.get("parameters"):
        yield "<dl>"
        for one in operation["parameters"]:
            schema = one["schema"]
            choices = " | ".join(map(str, schema["enum"])) if "enum" in schema else schema.get("type", "")
            default = f", default {schema['default']}" if "default" in schema else ""
            words = _text(one.get("description") or schema.get("description", ""))
            yield f"<dt><code>{escape(one['name'])}</code></dt><dd>{escape(choices + default)}. {words}</dd>"
        yield "</dl>"
    for sample in operation[SAMPLES]:
        opened = " open" if sample["label"] == "curl" else ""
        yield f"<details{opened}><summary>{sample['label']}</summary>{_code(sample['source'])}</details>"
    for status, answer in operation["responses"].items():
        content = answer.get("content", {})
        if status.startswith("2"):
            yield f"<p>Answer {status}{', ' + escape(' or '.join(content)) if content else ', without a body'}</p>"
            example = content.get("application/json", {}).get("example")
            if example is not None:
                shown = _code(json.dumps(example, indent=2, ensure_ascii=False))
                yield f"<details><summary>What it looks like</summary>{shown}</details>"
    refused = [status for status in operation["responses"] if not status.startswith("2")]
    yield f"<p>Refusals: {', '.join(refused) or 'none'}</p></section>"


def _anchor(method: str, path: str) -> str:
    return re.sub(r"[^a-z]+", "-", f"{method}{path}".lower()).strip("-")


def _code(text: str) -> str:
    return f'<pre tabindex="0"><code>{escape(text)}</code></pre>'


def _text(text: str) -> str:
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False)).replace("\n\n", "</p><p>")
