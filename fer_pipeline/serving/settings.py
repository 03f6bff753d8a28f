"""Settings of the service, read from `FER_*` environment variables.

Each field of a class here is set by `FER_` and its name in capitals. `Limits()` and `ServiceSettings()` read the environment;
values that are passed win. Both raise `ParamsError` that names the variable, its value and what was expected.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from fer_pipeline.errors import ParamsError
from fer_pipeline.imaging import DETECTORS
from fer_pipeline.inference.smoothing import DEFAULT_TEMPORAL, TEMPORAL_MODES, TemporalMode
from fer_pipeline.workspace import layout

PREFIX = "FER_"

_HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:]+")
_ORIGIN = re.compile(r"(https?)://([a-z0-9._-]+|\[[0-9a-f:.]+\])(?::([0-9]{1,5}))?")
_DEFAULT_PORTS = {"http": 80, "https": 443}

# The same place relative to this file in the repository and in the bento.
BUNDLE = Path(__file__).resolve().parents[2] / layout.BUNDLE


def _plain_number(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdecimal()):  # pydantic also takes 1_000, +1 and 1.0
        raise ValueError
    return value


def _absolute(path: Path) -> Path:
    if not path.is_absolute():  # the workers of a packaged service run in a folder of their own
        raise ValueError(f"expected an absolute path such as {Path.cwd() / path}")
    return path


def _detector(choice: str) -> str:
    if choice not in DETECTORS and not Path(choice).is_absolute():
        raise ValueError
    return choice


def _sendable(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not (text and text.isascii() and text.isprintable() and " " not in text):
        raise ValueError
    return token


def _host_names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    names = tuple(name.strip().lower() for name in value.split(",") if name.strip())
    if not all(_HOST.fullmatch(name) for name in names):
        raise ValueError
    return names


def _origins(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    origins = []
    for text in (part.strip().lower() for part in value.split(",") if part.strip()):
        found = _ORIGIN.fullmatch(text)
        port = int(found[3]) if found and found[3] else None
        if found is None or port == 0 or (port or 0) > 65535:
            raise ValueError
        shown = "" if port in (None, _DEFAULT_PORTS[found[1]]) else f":{port}"
        origins.append(f"{found[1]}://{found[2]}{shown}")  # as a browser writes it
    return tuple(origins)


Positive = Annotated[int, BeforeValidator(_plain_number), Field(ge=1, description="a positive whole number")]
Percent = Annotated[int, BeforeValidator(_plain_number), Field(ge=1, le=100, description="a whole number, 1 to 100")]
NotNegative = Annotated[int, BeforeValidator(_plain_number), Field(ge=0, description="a whole number, 0 or more")]
Folder = Annotated[
    Annotated[Path, AfterValidator(_absolute)] | None,
    BeforeValidator(lambda value: value or None),  # set to nothing is not set
    Field(description="an absolute path"),
]


class _Environment(BaseSettings):
    """Settings whose errors are `ParamsError`."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", hide_input_in_errors=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            fault = error.errors()[0]
            if not fault["loc"]:  # of several fields together
                raise ParamsError(str(fault["ctx"]["error"])) from None
            name = str(fault["loc"][0])
            expected = str(fault.get("ctx", {}).get("error", "")) or f"expected {type(self).model_fields[name].description}"
            received = "has a value that not every client can send" if name == "token" else f"is {fault['input']!r}"
            raise ParamsError(f"{PREFIX}{name.upper()} {received}, {expected}") from None


class Limits(_Environment):
    """What the service accepts."""

    max_upload_megabytes: Positive = 10  # of a whole request
    max_pictures: Positive = 16  # of one batch
    max_uploads: Positive = 64  # requests whose upload is being received, waits or is worked on; the next one gets 429
    client_share_percent: Percent = 50  # of all places for uploads, videos, streams, files and cameras, one address
    max_stall_seconds: Positive = 20  # without progress of an upload, or of a reader, after which the request is ended
    max_waiting: NotNegative = 32  # of these, received and waiting for their turn; the next one gets 429
    max_wait_seconds: Positive = 10  # for it, after which a request gets 429
    parallel: Positive = 2  # recognitions at the same time, one thread each
    max_decode_seconds: Positive = 20  # for one picture, after which its decoder is killed and the picture refused
    max_decode_memory_megabytes: Positive = 1500  # address space of an image decoder; 50 million pixels need 1200
    max_upload_seconds: Positive = 60  # for a picture; a video has ten times as long
    max_cameras: Positive = 4  # live sessions at the same time; they share one thread, so they cannot starve the pictures
    max_camera_fps: Positive = 30  # of one session; frames beyond it are refused
    max_camera_kilobytes: Positive = 600  # of one frame
    max_camera_pixels: Positive = 2_100_000  # of one frame; enough for 1920x1080
    max_camera_frame_seconds: Positive = 2  # of work on one frame, after which the session is ended
    max_camera_idle_seconds: Positive = 30  # without a frame, after which a session is closed
    max_video_megabytes: Positive = 200
    max_video_seconds: Positive = 300  # of play
    max_video_frames: Positive = 20_000
    max_video_fps: Positive = 120  # of play, in the mean
    max_video_pixels: Positive = 9_500_000  # of one frame; enough for 4096x2304
    max_videos: Positive = 2  # analysed at the same time by all workers together, each in a process of its own
    max_videos_waiting: NotNegative = 6  # for that; the next one gets 429
    max_video_results: Positive = 32  # kept at the same time, those at work included; the next one gets 429
    max_video_minutes: Positive = 15  # of work on one video, after which it is given up
    max_video_memory_megabytes: Positive = 6000  # address space of the process of one video
    keep_video_minutes: Positive = 30  # after which results are deleted


class ServiceSettings(_Environment):
    """Model, token, and what is switched on; a folder that is None is off."""

    model_dir: Path = Field(default=BUNDLE, description="the folder of an exported model")
    follow_dir: Folder = None  # from which new models are taken; None: from model_dir
    detector: Annotated[
        Annotated[str, AfterValidator(_detector)] | None,
        BeforeValidator(lambda value: value or None),
        Field(description=f"one of {', '.join(DETECTORS)}, or the absolute path of YuNet's file"),
    ] = None  # None: the one of the model's image spec
    token: Annotated[SecretStr, AfterValidator(_sendable)] | None = Field(
        default=None,
        description="letters, digits and signs of printable ASCII, without blanks; leave it out for a service without a token",
    )
    hosts: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_host_names),
        Field(description="names of hosts without ports, separated by commas, such as fer.example,service"),
    ] = ()  # besides localhost and the address that it listens on; a proxy in front passes its own name on
    allowed_origins: Annotated[
        tuple[str, ...],
        NoDecode,
        BeforeValidator(_origins),
        Field(
            description="origins of pages, separated by commas, such as https://app.example,http://localhost:8080; "
            "without paths, each named: no *"
        ),
    ] = ()  # pages of others that may use the service from a browser
    reload_seconds: float | None = Field(  # how often the model's folder is looked at
        default=None, gt=0, allow_inf_nan=False, description="a positive number of seconds; leave it out to keep the model"
    )
    camera_temporal: TemporalMode = Field(default=DEFAULT_TEMPORAL, description=f"one of {', '.join(TEMPORAL_MODES)}")

    prediction_log: Folder = None
    prediction_log_days: Positive = 30  # after which a day's file is deleted
    prediction_log_megabytes: Positive = 500  # of all files; the oldest are deleted first

    feedback: Folder = None  # corrections that wait for review
    feedback_days: Positive = 30  # after which a correction that was not accepted is deleted
    feedback_most: Positive = 2000  # corrections that may wait for review; the next one gets 429
    feedback_per_sender: Positive = 50  # of one address on one day in one worker; the next one gets 429

    shadow_model: Folder = None  # the challenger's exported model, now or later
    shadow_share: float = Field(default=0.1, gt=0, le=1, description="a share of the requests above 0, and 1 at most")
    shadow_log: Folder = None
    shadow_log_days: Positive = 30
    shadow_log_megabytes: Positive = 500

    @model_validator(mode="after")
    def _shadow_has_a_model(self) -> ServiceSettings:
        for name in ("shadow_share", "shadow_log"):
            if self.shadow_model is None and name in self.model_fields_set and getattr(self, name):
                raise ValueError(
                    f"{PREFIX}{name.upper()} is set without {PREFIX}SHADOW_MODEL: name the folder of the challenger, too, "
                    "or leave it out"
                )
        return self
