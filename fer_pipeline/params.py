"""The frozen models of params.yaml, one section per stage. This module alone reads that file; params_editing.py writes it.

An unknown key, a wrong type or a value out of range is a `ParamsError` that names the key, the value and, for a typo, the key
that was probably meant.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, field_validator, model_validator

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import FACE_SIZE, ImageSpec

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
Natural = Annotated[int, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]

NETWORKS = ("plain_cnn", "mini_xception", "compact", "wide", "se_resnet18")
TRANSFER_PREFIX = "transfer:"


class Section(BaseModel):
    """Frozen, strict about types, closed to unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SyntheticParams(Section):
    """The embedded default data."""

    faces: Count = 3000
    seed: int = 0


class FetchParams(Section):
    """Where the raw faces come from: a path, or the module that draws them; and the version of the corrections that join them."""

    source: str = "fer_pipeline/datasets/synthetic.py"
    feedback: Annotated[str, Field(pattern="^(none|[0-9a-f]{12})$")] = "none"
    synthetic: SyntheticParams = SyntheticParams()


class PreprocessParams(Section):
    """How rows become 48x48 faces with splits."""

    master: str = "local[*]"
    denoise: Literal["none", "median", "nlm"] = "none"
    contrast: Literal["none", "clahe"] = "none"
    low_contrast_below: Annotated[float, Field(ge=0, le=128)] = 8.0
    drop_training_copies: bool = False
    drop_non_faces: Annotated[int, Field(ge=0, le=10)] = 0
    validation_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    balance_to: Share = 0.0
    seed: int = 0

    @property
    def image_spec(self) -> ImageSpec:
        """The spec that serving must repeat."""
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


class AugmentParams(Section):
    """Random changes of a training picture, all drawn anew for each picture; 0 switches one off.

    `blur` (standard deviation, in pixels) and `noise` (likewise, in gray levels) are the largest amounts; half of the pictures
    get none.
    """

    flip: bool = True
    rotate_degrees: Annotated[float, Field(ge=0, le=45)] = 12.0
    scale: Annotated[float, Field(ge=0, lt=0.5)] = 0.13
    shift: Annotated[float, Field(ge=0, lt=0.5)] = 0.10
    brightness: Annotated[float, Field(ge=0, lt=1)] = 0.2
    contrast: Annotated[float, Field(ge=0, lt=1)] = 0.2
    erase_probability: Share = 0.3
    blur: Annotated[float, Field(ge=0, le=4)] = 0.0
    noise: Annotated[float, Field(ge=0, le=64)] = 0.0


class TransferParams(Section):
    """Only for networks `transfer:<name>`. With pretrained weights the backbone is first frozen, then trained at a lower rate.

    `weights` is "none" (all is trained from the start), "imagenet", or the path of a .weights.h5 file of the backbone.
    """

    weights: str = "none"
    frozen_epochs: Natural = 2
    unfrozen_lr_factor: Positive = 0.1
    input_size: Annotated[int, Field(ge=32, le=331)] = 96


class TrainParams(Section):
    """The recipe. Learning rates are per step of one batch, shares and probabilities in 0..1."""

    profile: str = "smoke"
    network: str = "compact"
    epochs: Count = 20
    batch_size: Count = 128
    optimizer: Literal["sgd", "adam", "adamw"] = "sgd"
    lr: Positive = 0.1
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 5e-4
    schedule: Literal["constant", "cosine", "one_cycle", "plateau"] = "one_cycle"
    warmup_share: Share = 0.2
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    mixup_alpha: Annotated[float, Field(ge=0)] = 0.0
    mixup_off_share: Share = 0.2
    class_weights: Literal["none", "balanced", "sqrt"] = "none"
    votes_weight: Annotated[float, Field(ge=0)] = 0.0
    soften: Share = 0.0
    soften_with: str = "none"
    teachers_weight: Share = 0.0
    teachers_with: str = "none"
    evaluate_every: Count = 1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.0
    early_stopping_patience: Natural = 0
    mixed_precision: bool = False
    low_resolution_size: Literal[24, 32, 40, 48] = 48
    low_resolution_epochs: Natural = 0
    seed: int = 0
    augment: AugmentParams = AugmentParams()
    transfer: TransferParams = TransferParams()

    @field_validator("network")
    @classmethod
    def _known_network(cls, value: str) -> str:
        if value not in NETWORKS and not value.startswith(TRANSFER_PREFIX):
            hint = _suggest(value, NETWORKS)
            raise ValueError(f"no network {value!r}{hint}; expected {', '.join(NETWORKS)} or {TRANSFER_PREFIX}<name>")
        return value

    @model_validator(mode="after")
    def _phases_fit(self) -> TrainParams:
        if self.low_resolution_epochs > self.epochs:
            raise ValueError(f"low_resolution_epochs {self.low_resolution_epochs} exceeds epochs {self.epochs}")
        if self.low_resolution_epochs == self.epochs and self.low_resolution_size < FACE_SIZE:
            raise ValueError(f"low_resolution_epochs {self.epochs} leaves no epoch at {FACE_SIZE} px, the size that is served")
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError(f"adam has no weight decay: set weight_decay {self.weight_decay:g} to 0.0, or optimizer to adamw")
        if self.teachers_weight and self.low_resolution_epochs and self.low_resolution_size < FACE_SIZE:
            raise ValueError(
                f"teachers answer at {FACE_SIZE} px only: set low_resolution_epochs {self.low_resolution_epochs} to 0, or "
                "teachers_weight to 0"
            )
        if self.evaluate_every > 1 and (self.early_stopping_patience or self.schedule == "plateau"):
            raise ValueError(
                f"early stopping and schedule plateau look at every epoch: set evaluate_every {self.evaluate_every} to 1"
            )
        if self.network.startswith(TRANSFER_PREFIX) and self.transfer.frozen_epochs > self.epochs:
            raise ValueError(f"transfer.frozen_epochs {self.transfer.frozen_epochs} exceeds epochs {self.epochs}")
        return self

    def shortened(self, epochs: int) -> TrainParams:
        """The same recipe for so many epochs; those on small pictures and those with a frozen backbone shrink in proportion."""
        small, frozen = (
            min(round(part * epochs / self.epochs), epochs - 1)
            for part in (self.low_resolution_epochs, self.transfer.frozen_epochs)
        )
        return self.with_values({"epochs": epochs, "low_resolution_epochs": small, "transfer.frozen_epochs": frozen})

    def with_values(self, values: Mapping[str, Any]) -> TrainParams:
        """The recipe with other values of dotted keys such as "augment.flip". Raises `ParamsError` where they do not fit."""
        content = self.model_dump(mode="json")
        for key, value in values.items():
            *parents, last = key.split(".")
            section = content
            for parent in parents:
                section = section[parent]
            section[last] = value
        try:
            return TrainParams.model_validate(content)
        except ValidationError as error:
            raise ParamsError("train: " + "; ".join(_explain(fault) for fault in error.errors())) from error


class Range(Section):
    """Values of a number that a search tries: `low` to `high`, both included; by factors instead of differences where `log`."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low:g} with log: true, expected a number above 0")
        return self

    @property
    def ends(self) -> tuple[Any, ...]:
        """The values between which all others lie."""
        return (self.low, self.high)


class Choices(Section):
    """Values that a search tries, each for itself."""

    choices: Annotated[list[bool | int | float | str], Field(min_length=2)]

    @property
    def ends(self) -> tuple[Any, ...]:
        """All the values."""
        return tuple(self.choices)


Candidates = Annotated[
    Annotated[Range, Tag("range")] | Annotated[Choices, Tag("choices")],
    Discriminator(
        lambda value: "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "range"
    ),
]

NOT_SEARCHED = (
    "profile",
    "epochs",
    "seed",
    "soften_with",
    "teachers_with",
    "evaluate_every",
    "low_resolution_epochs",
    "transfer.frozen_epochs",
)
"""Keys of train that a search keeps: `epochs` of a trial stand in tune, and trials of other lengths could not be compared."""


class TuneParams(Section):
    """The search of `fer tune`. `space` says for dotted keys of train, such as "augment.shift", which values are tried."""

    trials: Count = 20
    epochs: Count = 10
    metric: Literal["accuracy", "macro_f1"] = "accuracy"
    startup_trials: Count = 5
    min_epochs: Natural = 3
    seed: int = 0
    space: Annotated[dict[str, Candidates], Field(min_length=1)]

    @field_validator("space")
    @classmethod
    def _keys_of_train(cls, space: dict[str, Candidates]) -> dict[str, Candidates]:
        plain = TrainParams()
        known = [key for key in _leaves(plain.model_dump(mode="json")) if key not in NOT_SEARCHED]
        for key, candidates in space.items():
            if key in NOT_SEARCHED:
                raise ValueError(f"{key} is the same for all trials, take it out of the space")
            if key not in known:
                raise ValueError(f"train has no key {key!r}{_suggest(key, known)}")
            for value in candidates.ends:
                try:
                    plain.with_values({key: value})
                except ParamsError as error:
                    raise ValueError(str(error)) from error
        return space


class EvaluateParams(Section):
    """How the model is measured."""

    bootstrap: Annotated[int, Field(ge=100)] = 1000
    seed: int = 0
    batch_size: Count = 256
    test_time_augmentation: bool = False


class ExportParams(Section):
    """How far the ONNX logits may lie from the Keras logits (largest absolute difference)."""

    tolerance: Positive = 1e-4


class PromoteParams(Section):
    """The gate between challenger and champion."""

    model_name: str = "fer"
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
    """When a window of logged predictions counts as drifted; `alpha` is the bound of the corrected p-values.

    A window of fewer than `min_rows` is widened, up to `max_window_hours`.
    """

    alpha: Annotated[float, Field(gt=0, lt=0.5)] = 0.01
    min_psi: Annotated[float, Field(ge=0)] = 0.1
    min_rows: Annotated[int, Field(ge=50)] = 200
    max_window_hours: Annotated[float, Field(gt=0)] = 168.0


class FeedbackParams(Section):
    """Bounds of the checks of corrections; a correction beyond one of them is accepted only by its id."""

    min_contrast: Annotated[float, Field(ge=0, le=128)] = 8.0
    near_bits: Annotated[int, Field(ge=0, le=16)] = 3
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
    profiles: dict[str, dict[str, Any]]

    @field_validator("profiles")
    @classmethod
    def _valid_profiles(cls, value: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        for name, recipe in value.items():
            TrainParams.model_validate({**recipe, "profile": name})
        return value

    def recipe(self, profile: str) -> TrainParams:
        """The whole recipe of a profile: its own values over the defaults. Raises `ParamsError` for an unknown name."""
        if profile not in self.profiles:
            raise ParamsError(
                f"no profile {profile!r}{_suggest(profile, self.profiles)}; params.yaml has {', '.join(self.profiles)}"
            )
        return TrainParams.model_validate({**self.profiles[profile], "profile": profile})


def load(path: Path) -> Params:
    """The checked content of params.yaml. Raises `ParamsError`."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path} is missing: run from the root of the repository, or, where the command has it, give --params"
        ) from error
    except yaml.YAMLError as error:
        raise ParamsError(f"{path} is no valid YAML: {error}") from error
    if not isinstance(values, dict):
        raise ParamsError(f"{path} holds {type(values).__name__}, expected sections such as fetch: and train:")
    return parse(values, str(path))


def parse(values: Mapping[str, Any], origin: str = "params") -> Params:
    """`Params` of plain values. Raises `ParamsError` that lists every fault, with suggestions."""
    try:
        return Params.model_validate(values)
    except ValidationError as error:
        raise ParamsError(f"{origin}: " + "; ".join(_explain(fault) for fault in error.errors())) from error


def recipe_fingerprint(params: Params) -> str:
    """Fingerprint of all that decides which model is trained: the sections fetch, preprocess and train."""
    parts = "".join(fingerprint(section) for section in (params.fetch, params.preprocess, params.train))
    return hashlib.sha256(parts.encode()).hexdigest()[:12]


def fingerprint(section: BaseModel) -> str:
    """First 12 hex digits of the SHA-256 of a section's canonical JSON."""
    text = json.dumps(section.model_dump(mode="json", by_alias=True), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _leaves(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    found: list[str] = []
    for key, value in values.items():
        found += _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else [prefix + key]
    return found


def _explain(fault: Any) -> str:
    where = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"unknown key {where}{_suggest(str(fault['loc'][-1]), _keys_at(fault['loc'][:-1]))}"
    if fault["type"] == "missing":
        return f"{where} is missing"
    value = "" if isinstance(fault["input"], Mapping) else f" = {fault['input']!r}"
    return f"{where}{value}: {fault['msg'].removeprefix('Value error, ')}"


def _keys_at(location: tuple[Any, ...]) -> list[str]:
    section: type[BaseModel] = Params
    for part in location:
        fields = {info.alias or name: info for name, info in section.model_fields.items()}
        annotation = fields[part].annotation if part in fields else None
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return []
        section = annotation
    return [info.alias or name for name, info in section.model_fields.items()]


def _suggest(word: str, known: Any) -> str:
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f", did you mean {close[0]!r}?" if close else ""
