"""Describe params.yaml: keys from their models, comments from the file."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic.fields import FieldInfo

from fer_pipeline.config.base import Section
from fer_pipeline.config.params import Params
from tools.reference.markdown import table

PARAMS = Path(__file__).resolve().parents[2] / "params.yaml"

_HEAD = """# Parameters

params.yaml has a section for each stage; a change reruns only the stages that read it. An unknown key, a wrong type or a value
out of range is an error that names the key, the value and what was probably meant. How to use profiles:
[Training and recipes](training.md).
"""
_PROFILES = """## profiles

Recipes by name stand in profiles.yaml, with the keys of `train` that differ from the defaults; `fer profile list` shows them.
"""
_FOOT = "This page is made from params.yaml and the models in `fer_pipeline/config/` by `python -m tools.reference`."
_BOUNDS: dict[type, tuple[str, str]] = {Ge: ("at least", "ge"), Gt: ("above", "gt"), Le: ("at most", "le"), Lt: ("below", "lt")}
_WORDS: dict[Any, str] = {int: "whole number", float: "number", str: "text", bool: "`true` or `false`"}


def page() -> str:
    """Return docs/parameters.md."""
    comments = comments_of(PARAMS.read_text(encoding="utf-8"))
    parts = [_HEAD]
    for name, field in Params.model_fields.items():
        if (section := _section_of(field)) is not None:
            parts += _described(field.alias or name, section, comments)
    return "\n\n".join(part.strip() for part in (*parts, _PROFILES, _FOOT)) + "\n"


def _described(name: str, section: type[Section], comments: dict[str, str]) -> Iterator[str]:
    yield f"## {name}"
    yield inspect.getdoc(section) or ""
    inner = {key: found for key, field in section.model_fields.items() if (found := _section_of(field)) is not None}
    rows = [
        (f"`{key}`", _allowed(field), _default(field), comments.get(f"{name}.{key}", ""))
        for key, field in section.model_fields.items()
        if key not in inner
    ]
    yield table(("key", "allowed", "default", "meaning"), rows)
    for key, found in inner.items():
        yield from _described(f"{name}.{key}", found, comments)


def _section_of(field: FieldInfo) -> type[Section] | None:
    annotation: Any = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, Section) else None


def _allowed(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in get_args(field.annotation))
    if get_origin(field.annotation) is tuple:
        return f"{len(get_args(field.annotation))} numbers"
    word = _WORDS.get(field.annotation, "mapping")
    bounds = [
        f"{said} {getattr(bound, attribute):g}"
        for bound in field.metadata
        for kind, (said, attribute) in _BOUNDS.items()
        if isinstance(bound, kind)
    ]
    return " ".join((word, ", ".join(bounds))).strip()


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "needed"
    value = field.get_default(call_default_factory=True)
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "" if isinstance(value, dict) else f"`{list(value) if isinstance(value, tuple) else value}`"


def comments_of(text: str) -> dict[str, str]:
    """Map dotted keys to the comments before and behind them."""
    found: dict[str, str] = {}
    parents: list[str] = []
    before: list[str] = []
    for line in text.splitlines():
        indent, rest = (len(line) - len(line.lstrip())) // 2, line.strip()
        key = re.match(r"([\w.-]+):(?:[^#]|#(?<! #))*(?:# (.*))?$", rest)
        if rest.startswith("#"):
            before.append(rest.lstrip("# "))
        elif key:
            parents[indent:] = [key[1]]
            found[".".join(parents)] = " ".join([*before, key[2] or ""]).strip()
            before = []
        else:
            before = []
    return found
