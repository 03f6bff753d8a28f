from __future__ import annotations

import base64
import hashlib

from fastapi.testclient import TestClient

from fer_pipeline.serving.http.middleware import script_source


def test_a_policy_allows_the_script_that_is_in_the_page(client: TestClient) -> None:
    digest = base64.b64encode(hashlib.sha256(b" go(1) ").digest()).decode()
    assert script_source('<p>x</p><script type="module"> go(1) </script>') == f"'sha256-{digest}'"
    answer = client.get("/web/device/example.html")
    policy = answer.headers["Content-Security-Policy"]
    assert f"script-src 'self' {script_source(answer.text)};" in policy
    assert "unsafe-inline" not in policy
    assert "sha256" not in client.get("/").headers["Content-Security-Policy"]
