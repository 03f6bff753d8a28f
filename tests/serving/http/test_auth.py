"""Who may ask: tokens, origins, headers, caches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse

from fer_pipeline.errors import ParamsError
from fer_pipeline.inference.recognizer import Recognizer
from fer_pipeline.serving.app import WEB
from fer_pipeline.serving.http.middleware import SECURITY_HEADERS
from fer_pipeline.serving.settings import ServiceSettings
from tests.serving.asking import FLAT_FACE, app_of, client_of, error_of

UInt8Array = npt.NDArray[np.uint8]


def test_work_needs_the_token_and_the_page_does_not(brightness_model: Path) -> None:
    """A token is asked for what gives work and not for the page."""
    client = client_of(Recognizer.load(brightness_model), token="s3cret")
    for path in ("/predict", "/predict/batch", "/annotate", "/explain"):
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic s3cret"}):
            answer = client.post(path, files={"picture": FLAT_FACE}, headers=headers)
            assert (answer.status_code, error_of(answer)) == (401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
    right = {"authorization": "Bearer s3cret"}
    assert client.post("/predict", files={"picture": FLAT_FACE}, headers=right).status_code == 200
    for path in ("/", "/model", "/openapi.json"):
        assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1.Z_9", True), ("a" * 64, True), ("a" * 65, False), ("a b", False), ("<x>", False), ("", False)]
)
def test_the_id_of_a_request_is_told_back(client: TestClient, given: str, kept: bool) -> None:
    told = client.post("/predict", headers={"x-request-id": given}).headers["x-request-id"]
    assert (told == given) is kept
    assert len(told) == 32 or kept


def test_the_page_and_its_files_are_served_with_security_headers(client: TestClient) -> None:
    page = client.get("/")
    assert "text/html" in page.headers["content-type"]
    for path in ("web/style.css", "web/app.js"):
        assert f'"{path}"' in page.text
        assert client.get(f"/{path}").status_code == 200
    for answer in (page, client.get("/web/app.js"), client.get("/nowhere"), client.post("/predict")):
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS


def test_the_page_uses_no_other_host_and_no_inline_code(client: TestClient) -> None:
    """The page asks nothing of other hosts and has no inline code."""
    modules = sorted(f"/web/{path.name}" for path in WEB.glob("*.js"))
    assert "/web/camera.js" in modules
    for path in ("/", "/web/style.css", *modules):
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert "http://" not in text
        assert "https://" not in text
        assert " style=" not in text
        assert "<script>" not in text
        assert "innerHTML" not in text


def test_answers_are_neither_cached_nor_shared(client: TestClient) -> None:
    """Answers are not kept by caches and other sites may not read them."""
    answer = client.get("/model", headers={"origin": "https://elsewhere.example"})
    assert answer.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in answer.headers
    assert client.options("/predict", headers={"origin": "https://elsewhere.example"}).status_code == 405


def test_only_the_page_may_be_kept_by_caches(client: TestClient) -> None:
    for path in ("/", "/web/app.js", "/web/style.css"):
        assert client.get(path).headers["cache-control"] == "no-cache"
    for path in ("/model", "/openapi.json", "/nowhere", "/website", "/video/0", "/video/0/files/faces.csv"):
        assert client.get(path).headers["cache-control"] == "no-store"
    answers = [client.post("/predict", files={"picture": FLAT_FACE}), client.post("/predict"), client.delete("/video/0")]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://elsewhere.example"},
        {"origin": "http://testserver:8888"},
        {"origin": "http://testserver.elsewhere.example"},
        {"origin": "http://testserver@elsewhere.example"},
        {"origin": "http://localhost", "host": "127.0.0.1"},
        {"origin": "http://127.0.0.1:8888", "host": "127.0.0.1:3000"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://["},
        {"origin": "http://testserver:99999"},
        {"origin": "file://"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "cross-site", "origin": "http://testserver"},
    ],
)
@pytest.mark.attack
def test_pages_of_other_origins_may_send_nothing(client: TestClient, headers: dict[str, str]) -> None:
    for method, path in (
        ("POST", "/predict"),
        ("POST", "/explain"),
        ("POST", "/video"),
        ("PUT", "/model"),
        ("PATCH", "/model"),
        ("DELETE", "/video/0"),
    ):
        answer = client.request(method, path, headers=headers)
        assert (answer.status_code, error_of(answer)) == (403, "forbidden_origin")
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
        assert answer.headers["x-request-id"]
    assert client.get("/model", headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://testserver"},
        {"origin": "http://testserver", "sec-fetch-site": "same-origin"},
        {"origin": "http://testserver:80"},
        {"origin": "http://testserver", "host": "testserver:80"},
        {"origin": "https://fer.example", "host": "fer.example"},
        {"origin": "http://127.0.0.1:3000", "host": "127.0.0.1:3000"},
        {"origin": "http://[::1]:3000", "host": "[::1]:3000"},
        {"origin": "http://localhost:3000", "host": "LOCALHOST:3000"},
        {"sec-fetch-site": "none"},
    ],
)
def test_the_own_page_and_programs_are_served(brightness_model: Path, headers: dict[str, str]) -> None:
    app = app_of(Recognizer.load(brightness_model))
    app.state.service.hosts = ("fer.example",)
    client = TestClient(app)
    answer = client.post("/predict?framing=face", files={"picture": FLAT_FACE}, headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "elsewhere.example",
        "elsewhere.example:3000",
        "localhost.elsewhere.example",
        "127.0.0.1.elsewhere.example",
        "10.0.0.7",
        "[::2]:3000",
        "[::1",
        "",
    ],
)
@pytest.mark.attack
def test_a_name_that_was_rebound_to_this_machine_reads_nothing(client: TestClient, host: str) -> None:
    """A page whose own name leads here is of the same origin for the browser, which would let it read each answer."""
    for method, path in (("GET", "/model"), ("GET", "/"), ("GET", "/metrics"), ("POST", "/predict")):
        answer = client.request(method, path, headers={"host": host, "origin": f"http://{host}"})
        assert (answer.status_code, error_of(answer)) == (421, "unknown_host")
        assert {name: answer.headers[name] for name in SECURITY_HEADERS} == SECURITY_HEADERS
    with pytest.raises(WebSocketDenialResponse) as refused, client.websocket_connect("/live", headers={"host": host}):
        pass
    assert refused.value.status_code == 421


@pytest.mark.parametrize("host", ["localhost:3000", "127.0.0.1:3000", "[::1]:3000", "[::1]", "testserver", "FER.example:443"])
def test_known_hosts_are_served(brightness_model: Path, host: str) -> None:
    """Loopback, the address that the connection came to, and the names of FER_HOSTS."""
    app = app_of(Recognizer.load(brightness_model))
    app.state.service.hosts = ServiceSettings(hosts="Fer.example, other").hosts
    assert TestClient(app).get("/model", headers={"host": host}).status_code == 200


def test_hosts_are_names_without_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FER_HOSTS", "fer.example:443")
    with pytest.raises(ParamsError, match=r"FER_HOSTS is 'fer.example:443', expected names of hosts without ports"):
        ServiceSettings()
    monkeypatch.setenv("FER_HOSTS", "fer.example,::1")
    assert ServiceSettings().hosts == ("fer.example", "::1")


@pytest.mark.attack
def test_metrics_need_the_token(brightness_model: Path) -> None:
    """On a quiet service a counter that moves tells what a person was answered."""
    client = client_of(Recognizer.load(brightness_model), token="s3cret")
    assert client.get("/metrics").status_code == 401
    told = client.get("/metrics", headers={"Authorization": "Bearer s3cret"})  # as Prometheus sends it
    assert "fer_requests_total" in told.text
    assert client_of(Recognizer.load(brightness_model)).get("/metrics").status_code == 200  # where the operator has set none
