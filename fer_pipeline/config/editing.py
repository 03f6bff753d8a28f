"""Edit params.yaml and profiles.yaml: comments stay, what is written was checked."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from fer_pipeline.config.params import load_params, parse_params, parse_profiles
from fer_pipeline.config.training import TrainParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.workspace.files import write_text
from fer_pipeline.workspace.layout import PROFILES


def write_values(path: Path, values: Mapping[str, Any]) -> None:
    """Set dotted keys such as "fetch.source" in params.yaml.

    Comments stay. A value may be a whole section; then the keys it does not have are left as they are. Raises `ParamsError` for
    unfit values.
    """
    with _edited(path, parse_params) as content:
        for key, value in values.items():
            *parents, last = key.split(".")
            section = content
            for parent in parents:
                section = section[parent]
            _merge(section, last, value)


def save_profile(path: Path, name: str, recipe: TrainParams, comment: str) -> None:
    """Add a recipe to the profiles.yaml beside params.yaml, with a comment above it.

    `path` is params.yaml. Only what differs from the defaults is written. Raises `ParamsError` for a name that is taken or not
    made of a-z, 0-9 and "-".
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ParamsError(f"{name!r} is no name for a profile: use a-z, 0-9 and -, such as cpu-tuned")
    values = _differences(recipe.model_dump(mode="json"), TrainParams().model_dump(mode="json"))
    if name in load_params(path).profiles:
        raise ParamsError(f"there is a profile {name!r} already: choose another name, or remove it from {PROFILES} first")
    with _edited(path.with_name(PROFILES.name), parse_profiles) as profiles:
        profiles[name] = {key: value for key, value in values.items() if key != "profile"}
        profiles.yaml_set_comment_before_after_key(name, before="\n" + comment)


def use_profile(path: Path, name: str) -> TrainParams:
    """Write the whole recipe of a profile into the section `train`; return it.

    A profile with soft labels or teachers but without their hash takes the hash of the recipe before. Raises `ParamsError`.
    """
    params = load_params(path)
    recipe = params.recipe(name)
    for share, source in (("soft_label_weight", "soft_labels_hash"), ("distillation_weight", "teachers_hash")):
        if getattr(recipe, share) and getattr(recipe, source) == "none":
            recipe = recipe.with_values({source: getattr(params.train, source)})
    write_values(path, {"train": recipe.model_dump(mode="json")})
    return recipe


@contextmanager
def _edited(path: Path, check: Callable[[dict[str, Any], str], object]) -> Iterator[Any]:
    """Yield the content of a YAML file; check and write what the block changes."""
    editor = YAML()
    editor.width = 200
    editor.indent(mapping=2, sequence=4, offset=2)
    content = editor.load(path.read_text(encoding="utf-8")) if path.exists() else CommentedMap()
    yield content
    buffer = io.StringIO()
    editor.dump(content, buffer)
    check(yaml.safe_load(buffer.getvalue()), str(path))
    write_text(path, buffer.getvalue())


def _differences(values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = _differences(value, defaults[key])
            if inner:
                found[key] = inner
        elif value != defaults[key]:
            found[key] = value
    return found


def _merge(section: Any, key: str, value: Any) -> None:
    if isinstance(value, Mapping) and isinstance(section.get(key), Mapping):
        for inner, inner_value in value.items():
            _merge(section[key], inner, inner_value)
    elif key not in section or section[key] != value:
        section[key] = value
