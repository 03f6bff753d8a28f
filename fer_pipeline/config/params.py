"""Read and check params.yaml and profiles.yaml: one frozen model per section.

An unknown key, a wrong type or a value out of range is a `ParamsError` that names the key, the value and, for a typo, the key
that was probably meant.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from fer_pipeline.config.base import Count, Natural, Positive, Section, Share, explained, fingerprint, suggested
from fer_pipeline.config.training import TrainParams
from fer_pipeline.config.tuning import TuneParams
from fer_pipeline.errors import ParamsError
from fer_pipeline.labels import numbering_codes
from fer_pipeline.workspace.layout import PROFILES, SYNTHETIC

if TYPE_CHECKING:
    from fer_pipeline.imaging import ImageSpec


class FetchParams(Section):
    """The source of the raw faces, its labels, and the version of the corrections.

    `numbering` says what numbers mean as labels: a name, the emotions in their order from 0 with commas
    between, or "ask", which refuses numbered class folders. `contempt` is "refuse", "drop", or the emotion that it counts as.
    """

    added: ClassVar[frozenset[str]] = frozenset({"numbering", "contempt"})

    source: str = str(SYNTHETIC)
    numbering: str = "ask"
    contempt: Literal["refuse", "drop", "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"] = "refuse"
    feedback: Annotated[str, Field(pattern="^(none|[0-9a-f]{12})$")] = "none"

    @model_validator(mode="before")
    @classmethod
    def _synthetic_faces_have_a_file(cls, values: object) -> object:
        """Refuse the keys of versions before December 2026.

        Then `source` named the module that draws faces, and `synthetic` held number and seed.
        """
        if isinstance(values, Mapping) and ("synthetic" in values or str(values.get("source")).endswith(".py")):
            raise ValueError(
                f"number and seed of synthetic faces now stand in {SYNTHETIC}: write the values of fetch.synthetic there and "
                f"remove that key; to use those faces, set fetch.source to {SYNTHETIC}"
            )
        return values

    @field_validator("numbering")
    @classmethod
    def _known_numbering(cls, value: str) -> str:
        if value != "ask":
            numbering_codes(value)
        return value


class PreprocessParams(Section):
    """Parsing, splitting and balancing of the faces."""

    renamed: ClassVar[Mapping[str, str]] = {  # since December 2026
        "master": "spark_master",
        "drop_training_copies": "drop_duplicates",
        "drop_non_faces": "min_non_face_votes",
        "balance_to": "oversample_to",
    }
    placement: ClassVar[frozenset[str]] = frozenset({"spark_master", "output"})
    added: ClassVar[frozenset[str]] = frozenset({"output"})

    spark_master: str = "local[*]"
    output: str = "workspace"
    denoise: Literal["none", "median", "nlm"] = "none"
    contrast: Literal["none", "clahe"] = "none"
    low_contrast_below: Annotated[float, Field(ge=0, le=128)] = 8.0
    drop_duplicates: bool = False
    min_non_face_votes: Annotated[int, Field(ge=0, le=10)] = 0
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    oversample_to: Share = 0.0
    seed: int = 0

    @property
    def image_spec(self) -> ImageSpec:
        """The spec that serving must repeat."""
        from fer_pipeline.imaging import ImageSpec  # OpenCV, which `fer --help` does without

        return ImageSpec(denoise=self.denoise, contrast=self.contrast)


class ValidateParams(Section):
    """Bounds of the data checks; shares are of the rows concerned."""

    max_quarantine_share: Share = 0.02
    max_duplicate_share: Share = 0.10
    max_leak_share: Share = 0.10
    max_conflict_share: Share = 0.01
    max_flat_share: Share = 0.002
    max_class_deviation: Share = 0.05
    min_rows_per_class: Count = 5
    brightness_range: tuple[float, float] = (90.0, 170.0)
    min_mean_contrast: float = 20.0

    @field_validator("brightness_range", mode="before")
    @classmethod
    def _pair(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


class EvaluateParams(Section):
    """Evaluation of the model on the test split."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    seed: int = 0
    batch_size: Count = 256
    test_time_augmentation: bool = False


class ExportParams(Section):
    """`tolerance`: largest absolute difference of ONNX logits from Keras logits.

    `precision` int8 computes in 8 bits where the answers stay, else in float32.

    `detector` is the face detector of the bundle; it becomes part of the model's image spec.
    """

    added: ClassVar[frozenset[str]] = frozenset({"precision"})

    tolerance: Positive = 1e-4
    precision: Literal["float32", "int8"] = "float32"
    detector: Literal["centerface", "yunet", "haar"] = "centerface"


class PromoteParams(Section):
    """The gate between challenger and champion.

    `standard` is what an answer is judged by: the given label, or the emotion with most FER+ votes, on rows that have one.
    """

    model_name: str = "fer"
    standard: Literal["labels", "votes"] = "labels"
    confidence: Annotated[float, Field(ge=0.5, lt=1)] = 0.95
    min_accuracy_gain: float = 0.0
    min_macro_f1_gain: float = 0.0
    max_recall_drop: Share = 0.05
    max_ece: Share = 0.15
    max_ece_rise: Share = 0.03
    max_corruption_drop: Share = 0.03
    corruption_pictures: Natural = 200
    max_latency_ms: Positive = 50.0
    max_megabytes: Positive = 100.0
    bootstrap: Annotated[int, Field(ge=100)] = 2000
    seed: int = 0


class DriftParams(Section):
    """Bounds beyond which a window of logged predictions counts as drifted.

    `alpha` is the bound of the corrected p-values. A window of fewer than `min_rows` is widened, up to `max_window_hours`.
    """

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    min_psi: Annotated[float, Field(ge=0)] = 0.1
    min_rows: Annotated[int, Field(ge=50)] = 200
    max_window_hours: Annotated[float, Field(gt=0)] = 168.0


class FeedbackParams(Section):
    """Bounds of the checks of corrections.

    A correction beyond one of them is accepted only by its id.
    """

    renamed: ClassVar[Mapping[str, str]] = {"near_bits": "max_hash_distance"}  # since December 2026

    min_contrast: Annotated[float, Field(ge=0, le=128)] = 8.0
    max_hash_distance: Annotated[int, Field(ge=0, le=16)] = 3
    max_per_sender: Count = 10
    max_emotion_share: Share = 0.5
    share_from: Count = 20


class Params(Section):
    """All of params.yaml."""

    fetch: FetchParams
    preprocess: PreprocessParams
    validate_: ValidateParams = Field(alias="validate")
    train: TrainParams
    evaluate: EvaluateParams
    export: ExportParams
    promote: PromoteParams
    tune: TuneParams
    drift: DriftParams = DriftParams()
    feedback: FeedbackParams = FeedbackParams()
    profiles: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Those of profiles.yaml; until December 2026 they were a section of params.yaml, which is read still."""

    @field_validator("profiles")
    @classmethod
    def _valid_profiles(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, recipe in value.items():
            try:
                _profile(name, recipe)
            except ValidationError as error:
                raise ValueError(f"{name}: {explained(error, TrainParams)}") from error
        return value

    def recipe(self, profile: str) -> TrainParams:
        """Return the recipe of a profile. Raises `ParamsError` for an unknown name."""
        if profile not in self.profiles:
            known = ", ".join(self.profiles) or f"none: `git checkout {PROFILES}` brings the file back"
            raise ParamsError(f"no profile {profile!r}{suggested(profile, self.profiles)}; {PROFILES} has {known}")
        return _profile(profile, self.profiles[profile])


def load_params(path: Path) -> Params:
    """Read and check params.yaml, and profiles.yaml beside it where it is there.

    Of two profiles with one name that of profiles.yaml counts. Raises `ParamsError`.
    """
    try:
        params = parse_params(_read(path, "sections such as fetch: and train:"), str(path))
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path} is missing: run from the root of the repository, or, where the command has it, give --params"
        ) from error
    beside = path.with_name(PROFILES.name)
    try:
        profiles = parse_profiles(_read(beside, "recipes by name"), str(beside))
    except FileNotFoundError:
        return params
    return params.model_copy(update={"profiles": {**params.profiles, **profiles}})


def _read(path: Path, expected: str) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path} holds {type(values).__name__}, expected {expected}")
    return values


def parse_profiles(values: Mapping[str, Any], origin: str = str(PROFILES)) -> dict[str, dict[str, Any]]:
    """Check plain recipes by name. Raises `ParamsError`."""
    for name, recipe in values.items():
        if not isinstance(recipe, dict):
            raise ParamsError(f"{origin}: {name} = {recipe!r}, expected the keys of a recipe")
        try:
            _profile(name, recipe)
        except ValidationError as error:
            raise ParamsError(f"{origin}: {name}: {explained(error, TrainParams)}") from error
    return dict(values)


def _profile(name: str, recipe: Mapping[str, Any]) -> TrainParams:
    return TrainParams.model_validate({**recipe, "profile": name})


def parse_params(values: Mapping[str, Any], origin: str = "params") -> Params:
    """Check plain values. Raises a `ParamsError` that lists every fault."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{origin}: {explained(error, Params)}") from error


def parse_fetch(values: Mapping[str, Any]) -> FetchParams:
    """Check plain values of the section fetch. Raises `ParamsError`."""
    try:
        return FetchParams.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"fetch: {explained(error, FetchParams)}") from error


def with_current_names(values: Mapping[str, str]) -> dict[str, str]:
    """Rename dotted keys of earlier versions, such as "train.ema", in logged params."""
    sections = {info.alias or name: info.annotation for name, info in Params.model_fields.items()}
    names = {
        f"{name}.{earlier}": f"{name}.{today}"
        for name, section in sections.items()
        if isinstance(section, type) and issubclass(section, Section)
        for earlier, today in section.renamed.items()
    }
    return {names.get(key, key): value for key, value in values.items()}


def recipe_fingerprint(params: Params) -> str:
    """Hash the sections that decide which model is trained: fetch, preprocess, train."""
    parts = "".join(fingerprint(section) for section in (params.fetch, params.preprocess, params.train))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]
