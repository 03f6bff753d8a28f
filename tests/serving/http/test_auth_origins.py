"""Pages of others: closed to all but those that the operator names."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.settings import ServiceSettings
from tests.serving.asking import FLAT_FACE, app_of, error_of

PAGE = "https://app.example"
BROWSER = {"origin": PAGE, "sec-fetch-site": "cross-site"}
PREFLIGHT = {**BROWSER, "access-control-request-method": "POST", "access-control-request-headers": "authorization"}
ALLOWED = "access-control-allow-origin"


def client_of_pages(model: Path, token: str | None = None) -> TestClient:
    app = app_of(Recognizer.load(model), token=token)
    app.state.service.allowed_origins = ServiceSettings(allowed_origins=f"{PAGE}, http://localhost:8080").allowed_origins
    return TestClient(app, raise_server_exceptions=False)


def test_an_allowed_page_sends_and_reads(brightness_model: Path) -> None:
    client = client_of_pages(brightness_model)
    for page in (PAGE, "http://localhost:8080"):
        headers = {**BROWSER, "origin": page}
        answer = client.post("/predict?framing=face", files={"picture": FLAT_FACE}, headers=headers)
        assert (answer.status_code, answer.headers[ALLOWED], answer.headers["vary"]) == (200, page, "Origin")
        assert client.get("/model", headers=headers).headers[ALLOWED] == page
        refused = client.post("/annotate", content=b"no picture", headers=headers)
        assert (refused.status_code, refused.headers[ALLOWED]) == (415, page)
        assert "X-Model" in refused.headers["access-control-expose-headers"]
        with client.websocket_connect("/live", headers=headers) as camera:
            assert camera.receive_json()["type"] == "model"


def test_a_preflight_is_answered_without_the_token(brightness_model: Path) -> None:
    """A browser sends none with it; the request itself needs one, and the page may read that."""
    client = client_of_pages(brightness_model, token="s3cret")
    for path in ("/predict", "/video/0", "/model"):
        answer = client.options(path, headers=PREFLIGHT)
        assert (answer.status_code, answer.content, answer.headers[ALLOWED]) == (204, b"", PAGE)
        assert "POST" in answer.headers["access-control-allow-methods"]
        assert "Authorization" in answer.headers["access-control-allow-headers"]
    refused = client.post("/predict", files={"picture": FLAT_FACE}, headers=BROWSER)
    assert (refused.status_code, error_of(refused), refused.headers[ALLOWED]) == (401, "unauthorized", PAGE)
    bearing = {**BROWSER, "authorization": "Bearer s3cret"}
    assert client.post("/predict", files={"picture": FLAT_FACE}, headers=bearing).status_code == 200


@pytest.mark.attack
@pytest.mark.parametrize(
    "origin",
    [
        "https://app.example.evil.example",
        "https://evil.example",
        "https://evilapp.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example/",
        "https://app.example@evil.example",
        "https://APP.example",
        "https://app.example,http://localhost:8080",
        "https://app.example https://evil.example",
        "null",
        "*",
        "",
    ],
)
def test_a_forged_origin_is_none_of_those(brightness_model: Path, origin: str) -> None:
    client = client_of_pages(brightness_model)
    headers = {"origin": origin, "sec-fetch-site": "cross-site"}
    answers = [
        client.post("/predict", files={"picture": FLAT_FACE}, headers=headers),
        client.get("/model", headers=headers),
        client.options("/predict", headers={**PREFLIGHT, "origin": origin}),
    ]
    assert [answer.status_code for answer in answers] == [403, 200, 405]
    for answer in answers:
        assert ALLOWED not in answer.headers
        assert answer.headers["vary"] == "Origin"  # no cache gives one page what is for the other
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/live", headers=headers):
        pass
    assert refused.value.status_code == 403


@pytest.mark.attack
def test_no_page_is_let_in_with_what_a_browser_adds(brightness_model: Path) -> None:
    """Cookies and logins of a browser would make each visitor of the page the sender."""
    client = client_of_pages(brightness_model)
    for answer in (client.get("/model", headers=BROWSER), client.options("/predict", headers=PREFLIGHT)):
        assert "access-control-allow-credentials" not in answer.headers
        assert answer.headers[ALLOWED] != "*"


@pytest.mark.attack
def test_an_allowed_page_under_a_foreign_name_is_refused(brightness_model: Path) -> None:
    """FER_HOSTS holds for it, too."""
    client = client_of_pages(brightness_model)
    answer = client.post("/predict", files={"picture": FLAT_FACE}, headers={**BROWSER, "host": "fer.example"})
    assert (answer.status_code, error_of(answer)) == (421, "unknown_host")
    client.app.state.service.hosts = ("fer.example",)  # type: ignore[attr-defined]
    answer = client.post("/predict", files={"picture": FLAT_FACE}, headers={**BROWSER, "host": "fer.example"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    ("value", "origins"),
    [
        ("", ()),
        ("HTTPS://App.example", (PAGE,)),
        ("https://app.example:443, http://localhost:80", (PAGE, "http://localhost")),
        ("http://[::1]:8080,http://127.0.0.1:3001", ("http://[::1]:8080", "http://127.0.0.1:3001")),
    ],
)
def test_origins_are_kept_as_a_browser_writes_them(monkeypatch: pytest.MonkeyPatch, value: str, origins: tuple[str]) -> None:
    monkeypatch.setenv("FER_ALLOWED_ORIGINS", value)
    assert ServiceSettings().allowed_origins == origins


@pytest.mark.parametrize(
    "value",
    [
        "*",
        "null",
        "https://*.example",
        "app.example",
        "https://app.example/",
        "https://app.example/page",
        "https://user@app.example",
        "https://app.example:0",
        "https://app.example:99999",
        "https://",
        "file://",
        "https://app.example https://other.example",
        "https://äpp.example",
    ],
)
def test_what_is_no_origin_is_refused_at_the_start(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("FER_ALLOWED_ORIGINS", value)
    with pytest.raises(
        ParamsError, match=r"FER_ALLOWED_ORIGINS is '.*', expected origins of pages, separated by commas"
    ) as raised:
        ServiceSettings()
    assert value in str(raised.value)
