from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fer_pipeline.serving.background.reload_signal import ReloadSignal
from fer_pipeline.serving.settings import Limits
from tests.serving.watching import Service, place


@pytest.fixture
def workers(bundle: Path, tmp_path: Path) -> Iterator[list[Service]]:
    """Two workers of one service; the first one is asked."""
    made = [Service(bundle, tmp_path / "shared", Limits(), "secret") for _ in range(2)]
    for worker in made:
        worker.watcher.listen(ReloadSignal(tmp_path / "shared"))
    yield made
    for worker in made:
        worker.watcher.close()
        worker.jobs.close()


def told_to_reload(worker: Service) -> Any:
    with TestClient(worker.app) as client:
        return client.post("/admin/reload", headers={"Authorization": "Bearer secret"})


def test_a_reload_reaches_the_workers_that_were_not_asked(
    workers: list[Service], bundle: Path, mirrored: Path, brightness_model: Path
) -> None:
    for network, model in (("mirrored", mirrored), ("brightness", brightness_model)):
        place(model, bundle)
        assert told_to_reload(workers[0]).json()["changed"] is True
        workers[1].wait_for(network)


def test_an_unchanged_reload_reaches_workers_behind(workers: list[Service], bundle: Path, mirrored: Path) -> None:
    """A reload that changes nothing here still reaches a worker that is behind."""
    place(mirrored, bundle)
    assert workers[0].watcher.reload()
    assert workers[1].network() == "brightness"
    assert told_to_reload(workers[0]).json()["changed"] is False
    workers[1].wait_for("mirrored")


def test_a_failing_model_is_not_signalled(workers: list[Service], bundle: Path, broken: Path, tmp_path: Path) -> None:
    """Workers are not told to load a model that failed in the first one."""
    place(broken, bundle)
    assert told_to_reload(workers[0]).status_code == 422
    assert not (tmp_path / "shared" / "reload").exists()


def test_a_worker_that_cannot_tell_the_others_says_so(
    workers: list[Service], bundle: Path, mirrored: Path, tmp_path: Path
) -> None:
    (tmp_path / "shared").mkdir(exist_ok=True)
    (tmp_path / "shared").chmod(0o755)  # as if somebody else had made it
    place(mirrored, bundle)
    answer = told_to_reload(workers[0])
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "others_not_told")
    assert "not private" in answer.json()["error"]["message"]
    assert [worker.network() for worker in workers] == ["mirrored", "brightness"]


def test_a_call_from_before_a_worker_began_is_no_news_to_it(tmp_path: Path) -> None:
    first = ReloadSignal(tmp_path / "shared")
    first.send()
    second = ReloadSignal(tmp_path / "shared")
    assert (first.received(), second.received()) == (True, False)
    first.send()
    assert (first.received(), second.received(), second.received()) == (True, True, False)
    shutil.rmtree(tmp_path / "shared")  # as the last one to close does
    assert not second.received()
    second.send()
    assert first.received()
