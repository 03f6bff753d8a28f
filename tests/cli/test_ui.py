from __future__ import annotations

import pytest

from tests.fixtures.commands import fer


def test_a_tracking_server_has_its_own_page(monkeypatch: pytest.MonkeyPatch) -> None:
    """No second server starts; the password stays untold."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@models.example.org/mlflow")
    done = fer("ui", "mlflow")
    assert done.exit_code == 0
    assert "open https://models.example.org/mlflow" in done.output.replace("\n", " ")
    assert "secret" not in done.output
