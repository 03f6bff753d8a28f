"""The section `train` of params.yaml: the recipe of a training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from fer_pipeline.config.base import Count, Natural, Positive, Section, Share, explained, suggested
from fer_pipeline.errors import ParamsError

NETWORKS = ("plain_cnn", "mini_xception", "compact", "wide", "se_resnet18")
TRANSFER_PREFIX = "transfer:"


class AugmentParams(Section):
    """Random changes of training images, drawn anew for each; 0 switches one off.

    `blur` (standard deviation, in pixels) and `noise` (likewise, in gray levels) are the largest amounts; half of the images
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
    """Transfer learning, for networks `transfer:<name>`.

    With pretrained weights the backbone is first frozen, then trained at a lower rate. `weights` is "none" (all is trained from
    the start), "imagenet", or the path of a .weights.h5 file of the backbone.
    """

    weights: str = "none"
    frozen_epochs: Natural = 2
    unfrozen_lr_factor: Positive = 0.1
    input_size: Annotated[int, Field(ge=32, le=331)] = 96


class TrainParams(Section):
    """The recipe of a training.

    Learning rates are per step of one batch, shares and probabilities in 0..1. `vote_share` is the share of a row's FER+ votes in
    its target, the rest is its label. `initial_model` is "none" or the name of a pretrained model of the same network,
    whose weights training begins with.
    """

    renamed: ClassVar[Mapping[str, str]] = {  # since December 2026; in params.yaml, training.json, best.json
        "soften": "soft_label_weight",
        "soften_with": "soft_labels_hash",
        "teachers_weight": "distillation_weight",
        "teachers_with": "teachers_hash",
        "votes_weight": "vote_loss_weight",
        "ema": "ema_decay",
    }
    added: ClassVar[frozenset[str]] = frozenset({"initial_model", "vote_share"})

    profile: str = "smoke"
    network: str = "compact"
    initial_model: str = "none"
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
    vote_share: Share = 0.0
    vote_loss_weight: Annotated[float, Field(ge=0)] = 0.0
    soft_label_weight: Share = 0.0
    soft_labels_hash: str = "none"
    distillation_weight: Share = 0.0
    teachers_hash: str = "none"
    evaluate_every: Count = 1
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
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
            hint = suggested(value, NETWORKS)
            raise ValueError(f"no network {value!r}{hint}; expected {', '.join(NETWORKS)} or {TRANSFER_PREFIX}<name>")
        return value

    @model_validator(mode="after")
    def _phases_fit(self) -> TrainParams:
        from fer_pipeline.imaging import FACE_SIZE  # OpenCV, which `fer --help` does without

        if self.low_resolution_epochs > self.epochs:
            raise ValueError(f"low_resolution_epochs {self.low_resolution_epochs} exceeds epochs {self.epochs}")
        if self.low_resolution_epochs == self.epochs and self.low_resolution_size < FACE_SIZE:
            raise ValueError(f"low_resolution_epochs {self.epochs} leaves no epoch at {FACE_SIZE} px, the size that is served")
        if self.optimizer == "adam" and self.weight_decay:
            raise ValueError(f"adam has no weight decay: set weight_decay {self.weight_decay:g} to 0.0, or optimizer to adamw")
        if self.distillation_weight and self.low_resolution_epochs and self.low_resolution_size < FACE_SIZE:
            raise ValueError(
                f"teachers answer at {FACE_SIZE} px only: set low_resolution_epochs {self.low_resolution_epochs} to 0, or "
                "distillation_weight to 0"
            )
        if self.evaluate_every > 1 and (self.early_stopping_patience or self.schedule == "plateau"):
            raise ValueError(
                f"early stopping and schedule plateau look at every epoch: set evaluate_every {self.evaluate_every} to 1"
            )
        if self.network.startswith(TRANSFER_PREFIX) and self.transfer.frozen_epochs > self.epochs:
            raise ValueError(f"transfer.frozen_epochs {self.transfer.frozen_epochs} exceeds epochs {self.epochs}")
        return self

    def shortened(self, epochs: int) -> TrainParams:
        """Return the recipe for fewer epochs.

        Epochs at low resolution and with a frozen backbone shrink in proportion.
        """
        small, frozen = (
            min(round(part * epochs / self.epochs), epochs - 1)
            for part in (self.low_resolution_epochs, self.transfer.frozen_epochs)
        )
        return self.with_values({"epochs": epochs, "low_resolution_epochs": small, "transfer.frozen_epochs": frozen})

    def with_values(self, values: Mapping[str, Any]) -> TrainParams:
        """Return the recipe with other values of dotted keys such as "augment.flip".

        Raises `ParamsError` where a value does not fit.
        """
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
            raise ParamsError(f"train: {explained(error, TrainParams)}") from error
