"""data/synthetic.yaml: which synthetic faces to draw."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import yaml
from pydantic import ValidationError

from fer_pipeline.config.base import Count, Section, explained
from fer_pipeline.errors import SourceError


class SyntheticSource(Section):
    """Number of faces to draw, and the seed of their generator."""

    faces: Count
    seed: int

    @staticmethod
    def is_source(path: Path) -> bool:
        """Return whether a path is such a file; no other source is YAML."""
        return path.suffix in (".yaml", ".yml") and path.is_file()

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check the file. Raises `SourceError`."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        except ValidationError as error:
            raise SourceError(f"{path}: {explained(error, cls)}; expected two keys such as faces: 3000 and seed: 0") from error
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise SourceError(f"{path} cannot be read as YAML: {error}") from error
