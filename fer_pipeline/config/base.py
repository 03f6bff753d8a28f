"""What the sections of params.yaml have in common: strictness, kinds of numbers, and words for what is wrong with a value."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """Frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


def fingerprint(section: BaseModel) -> str:
    """First 12 hex digits of the SHA-256 of a section's canonical JSON."""
    text = json.dumps(section.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def explained(error: ValidationError, root: type[BaseModel]) -> str:
    """Every fault of values for the section `root`, with the key, the value and, for a typo, the key that was probably meant."""
    return "; ".join(_explain(fault, root) for fault in error.errors())


def suggested(word: str, known: Iterable[str]) -> str:
    """The question whether one of the known words was meant, to follow a wrong one; empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _explain(fault: Any, root: type[BaseModel]) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {where}{suggested(str(fault['loc'][-1]), _keys_at(root, fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    value = "" if isinstance(fault["input"], Mapping) else f" = {fault['input']!r}"
    return f"{where}{value}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_at(section: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    for part in location:
        fields = {info.alias or name: info for name, info in section.model_fields.items()}
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return [info.alias or name for name, info in section.model_fields.items()]
