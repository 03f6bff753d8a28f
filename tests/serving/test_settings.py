"""Settings of the service: what the environment sets, and errors that name the variable."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from fer_pipeline.errors import ParamsError
from fer_pipeline.serving.background.feedback_inbox import open_feedback_inbox
from fer_pipeline.serving.background.shadow import open_shadow
from fer_pipeline.serving.settings import Limits, ServiceSettings


@pytest.fixture
def set_environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    def set_all(environment: dict[str, str]) -> None:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)

    return set_all


def test_limits_come_from_the_environment(set_environment: Any) -> None:
    """Those that are not set keep their defaults."""
    set_environment({"FER_MAX_UPLOAD_MEGABYTES": "25", "FER_MAX_WAITING": "0", "HOME": "/root"})
    assert Limits().model_dump() == {**_defaults(), "max_upload_megabytes": 25, "max_waiting": 0}


def _defaults() -> dict[str, int]:
    return {name: field.default for name, field in Limits.model_fields.items()}


@pytest.mark.parametrize("limit", Limits.model_fields)
def test_the_docs_give_each_limit_with_its_default(limit: str) -> None:
    text = (Path(__file__).parents[2] / "docs" / "service.md").read_text()
    assert f"`FER_{limit.upper()}={_defaults()[limit]}`" in text


@pytest.mark.parametrize("value", ["", "ten", "-1", "1.5", "0", "²"])
def test_a_limit_that_is_no_positive_number_is_an_error(set_environment: Any, value: str) -> None:
    set_environment({"FER_MAX_UPLOAD_MEGABYTES": value})
    with pytest.raises(ParamsError, match=f"FER_MAX_UPLOAD_MEGABYTES is '{value}', expected a positive whole number"):
        Limits()


@pytest.mark.parametrize("token", ["two words", "sésame", "line\n", ""])
def test_a_token_that_not_every_client_can_send_is_an_error(set_environment: Any, token: str) -> None:
    """The message does not hold the token."""
    set_environment({"FER_TOKEN": token})
    with pytest.raises(ParamsError, match="FER_TOKEN has a value") as raised:
        ServiceSettings()
    assert not token or token not in str(raised.value)


def test_the_token_is_not_shown(set_environment: Any) -> None:
    set_environment({"FER_TOKEN": "s3cret"})
    settings = ServiceSettings()
    assert "s3cret" not in repr(settings)
    assert settings.token is not None
    assert settings.token.get_secret_value() == "s3cret"


def test_reload_seconds_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServiceSettings().reload_seconds is None
    monkeypatch.setenv("FER_RELOAD_SECONDS", "2.5")
    assert ServiceSettings().reload_seconds == 2.5
    for text in ("", "0", "-1", "nan", "inf", "soon"):
        monkeypatch.setenv("FER_RELOAD_SECONDS", text)
        with pytest.raises(ParamsError, match="FER_RELOAD_SECONDS"):
            ServiceSettings()


def test_an_unknown_temporal_mode_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServiceSettings().camera_temporal == "hmm"
    monkeypatch.setenv("FER_CAMERA_TEMPORAL", "magic")
    with pytest.raises(ParamsError, match="FER_CAMERA_TEMPORAL is 'magic', expected one of smooth, hmm, none"):
        ServiceSettings()


@pytest.mark.parametrize("choice", ["haar", "/models/yunet.onnx", ""])
def test_the_detector_comes_from_the_environment(set_environment: Any, choice: str) -> None:
    set_environment({"FER_DETECTOR": choice})
    assert ServiceSettings().detector == (choice or None)


@pytest.mark.parametrize("choice", ["centreface", "models/yunet.onnx"])
def test_an_unknown_detector_is_an_error(set_environment: Any, choice: str) -> None:
    set_environment({"FER_DETECTOR": choice})
    with pytest.raises(ParamsError, match=r"FER_DETECTOR is .*, expected one of centerface, yunet, haar"):
        ServiceSettings()


def test_the_log_of_predictions_comes_from_the_environment(tmp_path: Path, set_environment: Any) -> None:
    set_environment({"FER_PREDICTION_LOG": str(tmp_path), "FER_PREDICTION_LOG_DAYS": "7"})
    settings = ServiceSettings()
    assert settings.prediction_log == tmp_path
    assert (settings.prediction_log_days, settings.prediction_log_megabytes) == (7, 500)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("FER_PREDICTION_LOG", "data/predictions", "expected an absolute path such as /"),
        ("FER_PREDICTION_LOG_DAYS", "0", "FER_PREDICTION_LOG_DAYS is '0'"),
        ("FER_PREDICTION_LOG_MEGABYTES", "1.5", "FER_PREDICTION_LOG_MEGABYTES is '1.5'"),
    ],
)
def test_settings_of_the_log_that_do_not_fit_are_named(set_environment: Any, name: str, value: str, message: str) -> None:
    set_environment({"FER_PREDICTION_LOG": "/x", name: value})
    with pytest.raises(ParamsError, match=message):
        ServiceSettings()


@pytest.mark.parametrize(
    "environment",
    [
        {"FER_FEEDBACK": "relative"},
        {"FER_FEEDBACK": "/x", "FER_FEEDBACK_DAYS": "0"},
        {"FER_FEEDBACK": "/x", "FER_FEEDBACK_MOST": "many"},
    ],
)
def test_settings_of_feedback_that_do_not_fit_are_named(set_environment: Any, environment: dict[str, str]) -> None:
    set_environment(environment)
    with pytest.raises(ParamsError, match=list(environment)[-1]):
        ServiceSettings()


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"FER_SHADOW_MODEL": "data/challenger"}, "FER_SHADOW_MODEL is 'data/challenger', expected an absolute path"),
        ({"FER_SHADOW_MODEL": "/x", "FER_SHADOW_SHARE": "0"}, "FER_SHADOW_SHARE is '0'"),
        ({"FER_SHADOW_MODEL": "/x", "FER_SHADOW_SHARE": "all"}, "FER_SHADOW_SHARE is 'all'"),
        ({"FER_SHADOW_SHARE": "0.5"}, "FER_SHADOW_SHARE is set without FER_SHADOW_MODEL"),
        ({"FER_SHADOW_MODEL": "/x", "FER_SHADOW_LOG": "shadow"}, "FER_SHADOW_LOG is 'shadow', expected an absolute path"),
    ],
)
def test_settings_of_shadow_mode_that_do_not_fit_are_named(
    set_environment: Any, environment: dict[str, str], message: str
) -> None:
    set_environment(environment)
    with pytest.raises(ParamsError, match=message):
        ServiceSettings()


def test_what_is_set_to_nothing_is_switched_off(set_environment: Any) -> None:
    set_environment({"FER_FEEDBACK": "", "FER_PREDICTION_LOG": "", "FER_SHADOW_MODEL": "", "FER_SHADOW_LOG": ""})
    settings = ServiceSettings()
    assert settings.prediction_log is None
    assert open_feedback_inbox(settings) is None
    assert open_shadow(settings) is None
