"""Base class, number types and error texts of the sections of params.yaml."""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A frozen section of params.yaml, strict about types and closed to unknown keys.

    In params.yaml a key of an earlier version is an error that names the key of today; files that the pipeline stored itself are
    read with `from_stored`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    renamed: ClassVar[Mapping[str, str]] = {}
    """Key of an earlier version -> key of today, of this section alone."""

    added: ClassVar[frozenset[str]] = frozenset()
    """Keys that version 0.1.0 did not have; their defaults do what it did."""

    placement: ClassVar[frozenset[str]] = frozenset()
    """Keys that say on which machines a stage runs, and change nothing that it makes."""

    @classmethod
    def with_current_keys(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """Rename the keys of earlier versions in a stored section; other keys stay."""
        return {cls.renamed.get(key, key): value for key, value in values.items()}

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Self:
        """Validate a section that any version has stored.

        Raises pydantic's `ValidationError`.
        """
        return cls.model_validate(cls.with_current_keys(values))


def fingerprint(section: Section) -> str:
    """Return 12 hex digits of the SHA-256 of a section's canonical JSON.

    Each key has the first name it ever had, and an added key counts where it is not at its default: a new version changes no
    fingerprint, and a training that an earlier one began is resumed. A key of `placement` counts as its default.
    """
    first = {today: earlier for earlier, today in section.renamed.items()}
    defaults = {key: field.default for key, field in type(section).model_fields.items()}
    unused = {key for key in section.added if key in section.placement or getattr(section, key) == defaults[key]}
    values = section.model_dump(mode="json", by_alias=True, exclude=unused)
    values |= {key: defaults[key] for key in section.placement - unused}
    text = json.dumps({first.get(key, key): value for key, value in values.items()}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def explained(error: ValidationError, root: type[BaseModel]) -> str:
    """Describe every fault of values for the section `root` in one line.

    Each names the key and the value, and for a typo or a key of an earlier version the right key.
    """
    return "; ".join(_explain(fault, root) for fault in error.errors())


def suggested(word: str, known: Iterable[str]) -> str:
    """Return ", did you mean ...?" for a similar known word; "" where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""


def _explain(fault: Any, root: type[BaseModel]) -> str:
    path = [str(part) for part in fault["loc"]]
    where = ".".join(path)
    if fault["type"] == "extra_forbidden":
        *parents, last = path
        section = _section_at(root, parents)
        if section is None:
            return f"unknown key {where}"
        if issubclass(section, Section) and last in section.renamed:
            return f"{where} is called {'.'.join((*parents, section.renamed[last]))} now: rename the key"
        return f"unknown key {where}{suggested(last, [info.alias or name for name, info in section.model_fields.items()])}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    value = "" if isinstance(fault["input"], Mapping) else f" = {fault['input']!r}"
    return f"{where}{value}: {fault['msg'].removeprefix('Value error, ')}".removeprefix(": ")


def _section_at(section: type[BaseModel], location: Sequence[str]) -> type[BaseModel] | None:
    """Return the section at the keys of `location`, or None where there is none."""
    for part in location:
        fields = {info.alias or name: info for name, info in section.model_fields.items()}
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return None
        section = annotation
    return section
